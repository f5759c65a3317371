"""Hopper, Walker2d, HalfCheetah, Swimmer and Ant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from common.vec_env.mujoco.simulations import Fields
from common.vec_env.mujoco.task import Step, Task, clip_in_place, sum_of_squares

if TYPE_CHECKING:
    from gymnasium.envs.mujoco import MujocoEnv

MOVING = ("_forward_reward_weight", "_ctrl_cost_weight", "_exclude_current_positions_from_observation")
HEALTHY = ("_healthy_reward", "_terminate_when_unhealthy", "_healthy_z_range")


class Runner(Task):
    """Tasks with a reward for the velocity along x, the first number of qpos."""

    def __init__(self, envs: Sequence[MujocoEnv]) -> None:
        super().__init__(envs)
        self.state = self.simulations.state()
        self.x = Fields([[env.data.qpos[:1]] for env in envs])

    def advance(self, actions: np.ndarray) -> tuple[list[float], np.ndarray, list[float]]:
        """Step all simulations; return x before, the states [K, nq + nv] after, and the costs of the controls."""
        p = self.parameters
        before = self.x.read()[:, 0].tolist()
        self.simulations.advance(actions, p.frame_skip)
        return before, self.state.read(), (p.ctrl_cost_weight * sum_of_squares(actions)).tolist()


class Crawler(Runner):
    """HalfCheetah and Swimmer: the reward is the velocity along x, minus the cost of the controls.

    Args:
        envs: as for `Task`.
        hidden: numbers of qpos that observations exclude by default.
    """

    PARAMETERS = MOVING

    def __init__(self, envs: Sequence[MujocoEnv], hidden: int) -> None:
        super().__init__(envs)
        self.hidden = hidden

    def step(self, actions: np.ndarray) -> Step:
        """Step all simulations, as `Task.step`."""
        p = self.parameters
        before, state, costs = self.advance(actions)
        rewards = [
            p.forward_reward_weight * ((x - x0) / p.dt) - cost
            for x0, x, cost in zip(before, state[:, 0].tolist(), costs)
        ]
        return state[:, self.hidden if p.exclude_current_positions_from_observation else 0 :], rewards, None


class HalfCheetah(Crawler):
    """HalfCheetah-v4 and -v5."""

    def __init__(self, envs: Sequence[MujocoEnv]) -> None:
        super().__init__(envs, 1)


class Swimmer(Crawler):
    """Swimmer-v4 and -v5."""

    def __init__(self, envs: Sequence[MujocoEnv]) -> None:
        super().__init__(envs, 2)


class Walker2d(Runner):
    """Walker2d-v5, and what Hopper has in common with it: healthy while height and angle are within their ranges."""

    PARAMETERS = (*MOVING, *HEALTHY, "_healthy_angle_range")

    def __init__(self, envs: Sequence[MujocoEnv]) -> None:
        super().__init__(envs)
        self.first_velocity = envs[0].model.nq

    def is_healthy(self, state: list[float]) -> bool:
        """Return whether an environment's state is healthy."""
        (low, high), (low_angle, high_angle) = self.parameters.healthy_z_range, self.parameters.healthy_angle_range
        return low < state[1] < high and low_angle < state[2] < high_angle

    def healthy_reward(self, healthy: bool) -> float:
        """Return the reward of being healthy."""
        return healthy * self.parameters.healthy_reward

    def step(self, actions: np.ndarray) -> Step:
        """Step all simulations, as `Task.step`."""
        p = self.parameters
        before, state, costs = self.advance(actions)
        rewards, terminated = [], []
        for x0, row, cost in zip(before, state.tolist(), costs):
            healthy = self.is_healthy(row)
            forward_reward = p.forward_reward_weight * ((row[0] - x0) / p.dt)
            rewards.append(forward_reward + self.healthy_reward(healthy) - cost)
            terminated.append(not healthy)
        clip_in_place(state[:, self.first_velocity :], -10, 10)
        ob = state[:, 1 if p.exclude_current_positions_from_observation else 0 :]
        return ob, rewards, terminated if p.terminate_when_unhealthy else None


class Hopper(Walker2d):
    """Hopper-v5: all other numbers of the state must be within a range, too."""

    PARAMETERS = (*Walker2d.PARAMETERS, "_healthy_state_range")

    def is_healthy(self, state: list[float]) -> bool:
        """Return whether an environment's state is healthy."""
        low, high = self.parameters.healthy_state_range
        for x in state[2:]:
            if not low < x < high:
                return False
        return super().is_healthy(state)


class RewardWhileRunning:
    """Version 4 gives the reward of being healthy in every step of an episode that ends when it is not."""

    def healthy_reward(self, healthy: bool) -> float:
        """Return the reward of being healthy."""
        p = self.parameters
        return float(healthy or p.terminate_when_unhealthy) * p.healthy_reward


class Walker2dV4(RewardWhileRunning, Walker2d):
    """Walker2d-v4."""


class HopperV4(RewardWhileRunning, Hopper):
    """Hopper-v4."""


class Ant(Task):
    """Ant-v5: its velocity is that of the torso; forces of contacts cost, and are observed."""

    PARAMETERS = (
        *MOVING,
        *HEALTHY,
        "_contact_cost_weight",
        "_contact_force_range",
        "_include_cfrc_ext_in_observation",
        "_main_body",
    )
    healthy_reward = Walker2d.healthy_reward

    def __init__(self, envs: Sequence[MujocoEnv], contact_forces: bool = True) -> None:
        super().__init__(envs, contact_forces)
        self.state = self.simulations.state()
        self.forces = self.simulations.fields("cfrc_ext") if contact_forces else None
        main_bodies = [getattr(env, "_main_body", "torso") for env in envs]
        self.torso = Fields([[env.data.body(name).xpos] for env, name in zip(envs, main_bodies)])

    def contact_forces(self) -> np.ndarray:
        """Return the clipped forces [K, bodies * 6]."""
        return np.clip(self.forces.read(), *self.parameters.contact_force_range)

    def forward_reward(self, velocity: float) -> float:
        """Return the reward of moving."""
        return velocity * self.parameters.forward_reward_weight

    def parts(self, ob: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the observations, and the costs of contacts if there are any."""
        forces = self.contact_forces()
        if self.parameters.include_cfrc_ext_in_observation:
            ob = np.concatenate([ob, forces[:, 6:]], axis=1)
        return ob, self.parameters.contact_cost_weight * sum_of_squares(forces)

    def step(self, actions: np.ndarray) -> Step:
        """Step all simulations, as `Task.step`."""
        p = self.parameters
        low, high = p.healthy_z_range
        before = self.torso.read()[:, 0].tolist()
        self.simulations.advance(actions, p.frame_skip)
        after, state = self.torso.read()[:, 0].tolist(), self.state.read()
        finite = np.logical_and.reduce(np.isfinite(state), axis=1).tolist()
        costs = p.ctrl_cost_weight * sum_of_squares(actions)
        ob, contact_costs = self.parts(state[:, 2 if p.exclude_current_positions_from_observation else 0 :])
        if contact_costs is not None:
            costs = costs + contact_costs
        rewards, terminated = [], []
        for x0, x, is_finite, z, cost in zip(before, after, finite, state[:, 2].tolist(), costs.tolist()):
            healthy = is_finite and low <= z <= high
            rewards.append(self.forward_reward((x - x0) / p.dt) + self.healthy_reward(healthy) - cost)
            terminated.append(not healthy)
        return ob, rewards, terminated if p.terminate_when_unhealthy else None


class AntV4(RewardWhileRunning, Ant):
    """Ant-v4: forces only if `use_contact_forces` is set."""

    PARAMETERS = (
        *(name for name in MOVING if name != "_forward_reward_weight"),
        *HEALTHY,
        "_contact_cost_weight",
        "_contact_force_range",
        "_use_contact_forces",
    )

    def __init__(self, envs: Sequence[MujocoEnv]) -> None:
        super().__init__(envs, bool(envs[0]._use_contact_forces))

    def refresh(self) -> bool:
        """Read the parameters; whether there are forces must not have changed."""
        return super().refresh() and bool(self.parameters.use_contact_forces) == (self.forces is not None)

    def forward_reward(self, velocity: float) -> float:
        """Return the reward of moving."""
        return velocity

    def parts(self, ob: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the observations, and the costs of contacts if there are any."""
        if self.forces is None:
            return ob, None
        forces = self.contact_forces()
        return np.concatenate([ob, forces], axis=1), self.parameters.contact_cost_weight * sum_of_squares(forces)
