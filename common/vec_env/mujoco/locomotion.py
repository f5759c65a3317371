"""Hopper, Walker2d, HalfCheetah, Swimmer and Ant."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from common.vec_env.mujoco.simulations import Fields
from common.vec_env.mujoco.task import Step, SteppedTask, Task, clip_in_place, sum_of_squares

if TYPE_CHECKING:
    from gymnasium.envs.mujoco import MujocoEnv

MOVING = ("_forward_reward_weight", "_ctrl_cost_weight", "_exclude_current_positions_from_observation")
HEALTHY = ("_healthy_reward", "_terminate_when_unhealthy", "_healthy_z_range")
Healthy = bool | np.ndarray  # of one step, or [n] of many


class Runner(Task, ABC):
    """Tasks with a reward for the velocity along x, the first number of qpos.

    Rewards are computed for many steps together, because they depend on positions, actions and health alone.

    Args:
        envs: as for `Task`.

    Attributes:
        state: positions and velocities.
        first_velocity: number of positions.
        positions: each environment's qpos, views of MuJoCo's memory.
    """

    def __init__(self, envs: Sequence[MujocoEnv]) -> None:
        super().__init__(envs)
        self.state = self.simulations.state()
        self.first_velocity = envs[0].model.nq
        self.positions = [env.data.qpos for env in envs]

    def x(self, k: int) -> float:
        """Return the current x of environment `k`."""
        return float(self.positions[k][0])

    @abstractmethod
    def hidden(self) -> int:
        """Return how many numbers at the beginning of the state observations do not contain."""

    @abstractmethod
    def unhealthy(self, state: np.ndarray) -> Sequence[int]:
        """Return the numbers of the environments that are not healthy in the states [K, nq + nv]."""

    @abstractmethod
    def ends_unhealthy(self) -> bool:
        """Return whether episodes end when the environment is not healthy."""

    @abstractmethod
    def clip(self, velocities: np.ndarray) -> None:
        """Clip velocities [K, nv] to those that observations have, in place."""

    @abstractmethod
    def rewards(self, before: np.ndarray, x: np.ndarray, actions: np.ndarray, healthy: np.ndarray) -> np.ndarray:
        """Return the rewards [n] of steps.

        Args:
            before, x: [n] float64, x before and after each step.
            actions: [n, nu] float32.
            healthy: [n] bool, after each step.
        """

    def costs(self, actions: np.ndarray) -> np.ndarray:
        """Return the costs [n] of actions [n, nu]."""
        costs: np.ndarray = self.parameters.ctrl_cost_weight * sum_of_squares(actions)
        return costs

    def forward_rewards(self, before: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the rewards [n] of the velocity."""
        rewards: np.ndarray = self.parameters.forward_reward_weight * ((x - before) / self.parameters.dt)
        return rewards


class Crawler(Runner):
    """HalfCheetah and Swimmer: the reward is the velocity along x, minus the cost of the controls.

    Args:
        envs: as for `Task`.
        first_seen: the first number of the state that observations contain by default.
    """

    PARAMETERS = MOVING

    def __init__(self, envs: Sequence[MujocoEnv], first_seen: int) -> None:
        super().__init__(envs)
        self.first_seen = first_seen

    def hidden(self) -> int:
        """Return `first_seen`, or 0 if observations contain the whole state."""
        return self.first_seen if self.parameters.exclude_current_positions_from_observation else 0

    def unhealthy(self, state: np.ndarray) -> Sequence[int]:
        """Return none."""
        return ()

    def ends_unhealthy(self) -> bool:
        """Return False."""
        return False

    def clip(self, velocities: np.ndarray) -> None:
        """Do nothing."""

    def rewards(self, before: np.ndarray, x: np.ndarray, actions: np.ndarray, healthy: np.ndarray) -> np.ndarray:
        """Return the rewards, as `Runner.rewards`."""
        return self.forward_rewards(before, x) - self.costs(actions)


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

    def hidden(self) -> int:
        """Return 1, or 0 if observations contain x."""
        return 1 if self.parameters.exclude_current_positions_from_observation else 0

    def is_healthy(self, state: list[float]) -> bool:
        """Return whether an environment's state is healthy."""
        (low, high), (low_angle, high_angle) = self.parameters.healthy_z_range, self.parameters.healthy_angle_range
        return low < state[1] < high and low_angle < state[2] < high_angle

    def unhealthy(self, state: np.ndarray) -> Sequence[int]:
        """Return the numbers of the environments that are not healthy, as `Runner.unhealthy`."""
        return [k for k, row in enumerate(state.tolist()) if not self.is_healthy(row)]

    def ends_unhealthy(self) -> bool:
        """Return whether the environments' `terminate_when_unhealthy` is set."""
        return bool(self.parameters.terminate_when_unhealthy)

    def clip(self, velocities: np.ndarray) -> None:
        """Clip the velocities to +-10."""
        clip_in_place(velocities, -10, 10)

    def healthy_reward(self, healthy: Healthy) -> Any:
        """Return the reward of being healthy."""
        return healthy * self.parameters.healthy_reward

    def rewards(self, before: np.ndarray, x: np.ndarray, actions: np.ndarray, healthy: np.ndarray) -> np.ndarray:
        """Return the rewards, as `Runner.rewards`."""
        return self.forward_rewards(before, x) + self.healthy_reward(healthy) - self.costs(actions)


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

    def healthy_reward(self, healthy: Healthy) -> Any:
        """Return the reward of being healthy."""
        p = self.parameters
        return (healthy | bool(p.terminate_when_unhealthy)) * p.healthy_reward


class Walker2dV4(RewardWhileRunning, Walker2d):
    """Walker2d-v4."""


class HopperV4(RewardWhileRunning, Hopper):
    """Hopper-v4."""


class Ant(SteppedTask):
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
        """Step all simulations, as `SteppedTask.step`."""
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
