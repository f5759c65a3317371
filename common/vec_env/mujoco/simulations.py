"""K simulations of MuJoCo: stepped one after another, with their states as arrays."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gymnasium.envs.mujoco import MujocoEnv


class Fields:
    """Fields of K simulations as one array.

    Args:
        simulations: for each simulation, views of its memory; all have the same shapes.

    Raises:
        ValueError: if a view is not contiguous, or shapes differ.
    """

    def __init__(self, simulations: Sequence[Sequence[np.ndarray]]) -> None:
        self.views = [view.reshape(-1) for views in simulations for view in views]
        if not all(np.shares_memory(view, x) for view, x in zip(self.views, sum(map(list, simulations), [])) if x.size):
            raise ValueError("a field is not contiguous")
        width = {sum(view.size for view in views) for views in simulations}
        if len(width) != 1:
            raise ValueError(f"fields have {sorted(width)} numbers")
        self.values = np.empty((len(simulations), *width))
        self.flat = self.values.reshape(-1)

    def read(self) -> np.ndarray:
        """Return the current values [K, n]. The array is reused by the next call."""
        np.concatenate(self.views, out=self.flat)
        return self.values


class Simulations:
    """Steps K simulations as `MujocoEnv.do_simulation` does.

    Args:
        envs: the environments, whose simulations are stepped.
        contact_forces: compute `cfrc_ext` and other forces after each step, which observations or rewards may contain.
            Without it, these fields of `MjData` keep their values of the last reset.

    Attributes:
        current: number of the simulation that is being stepped, for errors.
    """

    def __init__(self, envs: Sequence[MujocoEnv], contact_forces: bool) -> None:
        mujoco = sys.modules["mujoco"]  # the environments imported it; importing it here would take time in other tasks
        self.envs = envs
        self.mj_step = mujoco.mj_step
        self.mj_forces = mujoco.mj_rnePostConstraint if contact_forces else None
        self.parts = [(env.model, env.data, env.data.ctrl) for env in envs]
        self.current = 0

    def fields(self, *names: str) -> Fields:
        """Return fields of `MjData` by name, in this order, flat."""
        return Fields([[getattr(env.data, name) for name in names] for env in self.envs])

    def state(self) -> Fields:
        """Return positions and velocities, the `state_vector` of each environment."""
        return self.fields("qpos", "qvel")

    def advance(self, actions: Any, frame_skip: int) -> None:
        """Take `frame_skip` steps of physics with the controls `actions` [K, nu]."""
        step, forces = self.mj_step, self.mj_forces
        for k, (model, data, ctrl) in enumerate(self.parts):
            self.current = k
            ctrl[:] = actions[k]
            step(model, data, frame_skip)
            if forces is not None:
                forces(model, data)
