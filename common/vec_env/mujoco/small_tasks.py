"""Reacher, Pusher, InvertedPendulum and InvertedDoublePendulum: few numbers, computed one environment after another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from common.vec_env.mujoco.task import Step, SteppedTask

if TYPE_CHECKING:
    from gymnasium.envs.mujoco import MujocoEnv


class OneByOne(SteppedTask):
    """Computes observation, reward and end of each environment by `observe` and `reward`."""

    def __init__(self, envs: Sequence[MujocoEnv]) -> None:
        super().__init__(envs)
        self.obs = np.empty((len(envs), *envs[0].observation_space.shape))
        self.sources = [self.views(env) for env in envs]

    def views(self, env: MujocoEnv) -> tuple[np.ndarray, ...]:
        """Return the views of an environment's data that `observe` and `reward` take."""
        raise NotImplementedError

    def observe(self, ob: np.ndarray, *views: np.ndarray) -> None:
        """Write the observation into `ob`."""
        raise NotImplementedError

    def reward(self, action: np.ndarray, *views: np.ndarray) -> tuple[Any, bool]:
        """Return the reward after the step, and whether the episode has terminated."""
        raise NotImplementedError

    def step(self, actions: np.ndarray) -> Step:
        """Step all simulations, as `SteppedTask.step`."""
        self.simulations.advance(actions, self.parameters.frame_skip)
        rewards, terminated = [], []
        for k, views in enumerate(self.sources):
            reward, has_terminated = self.reward(actions[k], *views)
            rewards.append(float(reward))
            terminated.append(has_terminated)
            self.observe(self.obs[k], *views)
        return self.obs, rewards, terminated


class RewardBefore(OneByOne):
    """Version 4 of Reacher: the reward is of the state before the step."""

    def step(self, actions: np.ndarray) -> Step:
        """Step all simulations, as `SteppedTask.step`."""
        rewards = [float(self.reward(action, *views)[0]) for action, views in zip(actions, self.sources)]
        self.simulations.advance(actions, self.parameters.frame_skip)
        for k, views in enumerate(self.sources):
            self.observe(self.obs[k], *views)
        return self.obs, rewards, None


class Reacher(OneByOne):
    """Reacher-v5."""

    PARAMETERS: tuple[str, ...] = ("_reward_dist_weight", "_reward_control_weight")
    coordinates = 2  # of the vector to the target

    def views(self, env: MujocoEnv) -> tuple[np.ndarray, ...]:
        """Return views of positions, velocities and what else the formulas need."""
        data = env.data
        return data.qpos[:2], data.qpos[2:], data.qvel[:2], data.body("fingertip").xpos, data.body("target").xpos

    def observe(self, ob: np.ndarray, *views: np.ndarray) -> None:
        """Write the observation into `ob`."""
        angles, position, velocity, fingertip, target = views
        np.cos(angles, out=ob[:2])
        np.sin(angles, out=ob[2:4])
        end = 4 + len(position)
        ob[4:end] = position
        ob[end : end + 2] = velocity
        np.subtract(fingertip[: self.coordinates], target[: self.coordinates], out=ob[end + 2 :])

    def reward(self, action: np.ndarray, *views: np.ndarray) -> tuple[Any, bool]:
        """Return the reward, and whether the episode has terminated."""
        p, (*_, fingertip, target) = self.parameters, views
        distance = -np.linalg.norm(fingertip - target) * p.reward_dist_weight
        return distance + -np.square(action).sum() * p.reward_control_weight, False


class ReacherV4(RewardBefore, Reacher):
    """Reacher-v4: its weights are fixed."""

    PARAMETERS = ()
    coordinates = 3

    def reward(self, action: np.ndarray, *views: np.ndarray) -> tuple[Any, bool]:
        """Return the reward, and whether the episode has terminated."""
        *_, fingertip, target = views
        return -np.linalg.norm(fingertip - target) + -np.square(action).sum(), False


class Pusher(OneByOne):
    """Pusher-v5."""

    PARAMETERS: tuple[str, ...] = ("_reward_near_weight", "_reward_dist_weight", "_reward_control_weight")

    def views(self, env: MujocoEnv) -> tuple[np.ndarray, ...]:
        """Return views of positions, velocities and what else the formulas need."""
        bodies = (env.data.body(name).xpos for name in ("tips_arm", "object", "goal"))
        return env.data.qpos[:7], env.data.qvel[:7], *bodies

    def observe(self, ob: np.ndarray, *views: np.ndarray) -> None:
        """Write the observation into `ob`."""
        np.concatenate(views, out=ob)

    def reward(self, action: np.ndarray, *views: np.ndarray) -> tuple[Any, bool]:
        """Return the reward, and whether the episode has terminated."""
        p, (_, _, tips, thing, goal) = self.parameters, views
        near = -np.linalg.norm(thing - tips) * p.reward_near_weight
        distance = -np.linalg.norm(thing - goal) * p.reward_dist_weight
        return distance + -np.square(action).sum() * p.reward_control_weight + near, False


class InvertedPendulum(OneByOne):
    """InvertedPendulum-v5: the reward is 1 in each step that does not terminate the episode."""

    def views(self, env: MujocoEnv) -> tuple[np.ndarray, ...]:
        """Return views of positions, velocities and what else the formulas need."""
        return env.data.qpos, env.data.qvel

    def observe(self, ob: np.ndarray, *views: np.ndarray) -> None:
        """Write the observation into `ob`."""
        np.concatenate(views, out=ob)

    def reward(self, action: np.ndarray, *views: np.ndarray) -> tuple[Any, bool]:
        """Return the reward, and whether the episode has terminated."""
        position, velocity = (view.tolist() for view in views)
        terminated = not all(map(math.isfinite, position + velocity)) or abs(position[1]) > 0.2
        return self.alive_bonus(terminated), terminated

    def alive_bonus(self, terminated: bool) -> float:
        """Return the reward of a step."""
        return int(not terminated)


class InvertedPendulumV4(InvertedPendulum):
    """InvertedPendulum-v4: the last step has a reward, too."""

    def alive_bonus(self, terminated: bool) -> float:
        """Return the reward of a step."""
        return 1.0


class InvertedDoublePendulum(OneByOne):
    """InvertedDoublePendulum-v5."""

    PARAMETERS: tuple[str, ...] = ("_healthy_reward",)
    constraints = 1  # forces of constraints that are observed

    def views(self, env: MujocoEnv) -> tuple[np.ndarray, ...]:
        """Return views of positions, velocities and what else the formulas need."""
        data = env.data
        return data.qpos, data.qvel, data.qfrc_constraint[: self.constraints], data.site_xpos[0]

    def observe(self, ob: np.ndarray, *views: np.ndarray) -> None:
        """Write the observation into `ob`."""
        position, velocity, forces, _ = views
        nq, nv = len(position), len(velocity)
        ob[0] = position[0]
        np.sin(position[1:], out=ob[1:nq])
        np.cos(position[1:], out=ob[nq : 2 * nq - 1])
        np.clip(velocity, -10, 10, out=ob[2 * nq - 1 : 2 * nq - 1 + nv])
        np.clip(forces, -10, 10, out=ob[2 * nq - 1 + nv :])

    def reward(self, action: np.ndarray, *views: np.ndarray) -> tuple[Any, bool]:
        """Return the reward, and whether the episode has terminated."""
        _, velocity, _, (x, _, y) = views
        v1, v2 = velocity[1:3]
        # squares of NumPy scalars, which may round otherwise than squares of arrays
        penalty = 0.01 * x**2 + (y - 2) ** 2
        velocity_penalty = 1e-3 * v1**2 + 5e-3 * v2**2
        terminated = bool(y <= 1)
        return self.alive_bonus(terminated) - penalty - velocity_penalty, terminated

    def alive_bonus(self, terminated: bool) -> float:
        """Return the reward of a step before penalties."""
        return self.parameters.healthy_reward * int(not terminated)


class InvertedDoublePendulumV4(InvertedDoublePendulum):
    """InvertedDoublePendulum-v4: the last step has the same reward as the others."""

    PARAMETERS = ()
    constraints = 3

    def alive_bonus(self, terminated: bool) -> float:
        """Return the reward of a step before penalties."""
        return 10
