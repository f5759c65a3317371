"""Humanoid and HumanoidStandup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from common.vec_env.mujoco.locomotion import HEALTHY, MOVING, RewardWhileRunning, Walker2d
from common.vec_env.mujoco.simulations import Fields
from common.vec_env.mujoco.task import Step, SteppedTask, sum_of_squares

if TYPE_CHECKING:
    from gymnasium.envs.mujoco import MujocoEnv

# Parts of an observation after positions and velocities, and how many of their first numbers version 5 leaves out,
# because they are always zero.
PARTS = {"cinert": 10, "cvel": 6, "qfrc_actuator": 6, "cfrc_ext": 6}
INCLUDED = tuple(f"_include_{name}_in_observation" for name in PARTS)


class Humanoids(SteppedTask):
    """Observations of inertia, velocities and forces.

    Args:
        envs: as for `Task`.

    Attributes:
        has_choices: whether parts can be left out of the observations, as in version 5.
    """

    has_choices = True

    def __init__(self, envs: Sequence[MujocoEnv]) -> None:
        super().__init__(envs, contact_forces=True)
        self.controls = self.simulations.fields("ctrl")
        self.forces = self.simulations.fields("cfrc_ext")
        self.heights = Fields([[env.data.qpos[2:3]] for env in envs])
        self.observed = self.observation_settings()
        self.obs = Fields([self.parts(env) for env in envs])

    def observation_settings(self) -> list[bool]:
        """Return whether positions are left out, and whether each of `PARTS` is included."""
        env = self.envs[0]
        excludes = bool(getattr(env, "_exclude_current_positions_from_observation", True))
        return [excludes, *(not self.has_choices or getattr(env, name) is True for name in INCLUDED)]

    def parts(self, env: MujocoEnv) -> list[np.ndarray]:
        """Return views of all parts of an environment's observation."""
        data, (excludes, *included) = env.data, self.observed
        parts = [data.qpos[2:] if excludes else data.qpos, data.qvel]
        for (name, constants), is_included in zip(PARTS.items(), included):
            if is_included:
                parts.append(getattr(data, name).reshape(-1)[constants if self.has_choices else 0 :])
        return parts

    def refresh(self) -> bool:
        """Read the parameters; those of the observations must not have changed."""
        return super().refresh() and self.observed == self.observation_settings()


class Humanoid(Humanoids):
    """Humanoid-v5: its velocity is that of the center of mass; healthy while its height is within a range."""

    PARAMETERS = (*MOVING, *HEALTHY, "_contact_cost_weight", "_contact_cost_range", *INCLUDED)
    healthy_reward = Walker2d.healthy_reward

    def centers(self) -> list[float]:
        """Return x of the centers of mass."""
        centers = []
        for env in self.envs:  # one by one: a batch may be summed in another order
            mass = env.model.body_mass
            centers.append(float(np.einsum("b,bj->j", mass, env.data.xipos)[0] / mass.sum()))
        return centers

    def costs(self) -> np.ndarray:
        """Return the costs of controls and contacts [K]."""
        p = self.parameters
        contacts = p.contact_cost_weight * sum_of_squares(self.forces.read())
        return p.ctrl_cost_weight * sum_of_squares(self.controls.read()) + np.clip(contacts, *p.contact_cost_range)

    def step(self, actions: np.ndarray) -> Step:
        """Step all simulations, as `SteppedTask.step`."""
        p = self.parameters
        before = self.centers()
        self.simulations.advance(actions, p.frame_skip)
        low, high = p.healthy_z_range
        rewards, terminated = [], []
        for x0, x, z, cost in zip(before, self.centers(), self.heights.read()[:, 0].tolist(), self.costs().tolist()):
            healthy = low < z < high
            rewards.append(p.forward_reward_weight * ((x - x0) / p.dt) + self.healthy_reward(healthy) - cost)
            terminated.append(not healthy)
        return self.obs.read(), rewards, terminated if p.terminate_when_unhealthy else None


class HumanoidV4(RewardWhileRunning, Humanoid):
    """Humanoid-v4: contacts cost nothing."""

    PARAMETERS = (*MOVING, *HEALTHY)
    has_choices = False

    def costs(self) -> np.ndarray:
        """Return the costs of controls [K]."""
        return self.parameters.ctrl_cost_weight * sum_of_squares(self.controls.read())


class HumanoidStandup(Humanoids):
    """HumanoidStandup-v5: the reward is the height after the step, divided by the time of one step of physics."""

    PARAMETERS = (
        "_ctrl_cost_weight",
        "_impact_cost_weight",
        "_impact_cost_range",
        "_exclude_current_positions_from_observation",
        *INCLUDED,
    )

    def costs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the costs of controls and impacts [K]."""
        p = self.parameters
        impacts = p.impact_cost_weight * sum_of_squares(self.forces.read())
        return p.ctrl_cost_weight * sum_of_squares(self.controls.read()), np.clip(impacts, *p.impact_cost_range)

    def step(self, actions: np.ndarray) -> Step:
        """Step all simulations, as `SteppedTask.step`."""
        self.simulations.advance(actions, self.parameters.frame_skip)
        timesteps = np.array([env.model.opt.timestep for env in self.envs])
        control_costs, impact_costs = self.costs()
        rewards = (self.heights.read()[:, 0] - 0) / timesteps - control_costs - impact_costs + 1
        return self.obs.read(), rewards.tolist(), None


class HumanoidStandupV4(HumanoidStandup):
    """HumanoidStandup-v4: its weights are fixed."""

    PARAMETERS = ()
    has_choices = False

    def costs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the costs of controls and impacts [K]."""
        impacts = 0.5e-6 * sum_of_squares(self.forces.read())
        return 0.1 * sum_of_squares(self.controls.read()), np.minimum(impacts, 10)
