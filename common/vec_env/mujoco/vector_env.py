"""Vector environments of Gymnasium's MuJoCo tasks: what they share, and that of tasks with a reward in each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import gymnasium as gym
import numpy as np

from common.vec_env.in_process import InProcessVectorEnv
from common.vec_env.mujoco.recognition import Layers
from common.vec_env.mujoco.task import SteppedTask, Task


class MujocoVectorEnv(InProcessVectorEnv):
    """Steps K environments of one of Gymnasium's MuJoCo tasks through MuJoCo's own functions.

    Observations, rewards and ends are bit-identical to those of `InProcessVectorEnv`. Resets and `step` run the
    environments' own code. Infos of episodes that end within `step_into` are empty.

    Args:
        envs: the environments.
        layers: their wrappers.
        task: the formulas.

    Attributes:
        is_ready: whether the environments need not run their own code.
        actions_shape: (K, nu).
    """

    def __init__(self, envs: Sequence[gym.Env], layers: Sequence[Layers], task: Task) -> None:
        super().__init__(envs)
        self.layers, self.task = layers, task
        self.is_ready = False
        self.actions_shape = (self.num_envs, *self.single_action_space.shape)

    def subset(self, start: int, end: int) -> Self:
        """Return environments `start` to `end` - 1 as a vector environment."""
        layers = self.layers[start:end]
        return type(self)(self.envs[start:end], layers, type(self.task)([one.unwrapped for one in layers]))

    def read_parameters(self) -> None:
        """Read the environments' parameters, which may have changed since the last segment, and set `is_ready`."""
        self.is_ready = all(one.is_ready() for one in self.layers) and self.task.refresh()


class SteppedVectorEnv(MujocoVectorEnv):
    """A `MujocoVectorEnv` that computes rewards in each step."""

    task: SteppedTask

    def step_into(self, actions: Any, obs: Any, ob_row: int, rew: np.ndarray, rew_row: int) -> Sequence[tuple]:
        """Step every environment, as `InProcessVectorEnv.step_into`, with empty infos."""
        if rew_row == 0 or not self.is_ready:
            self.read_parameters()
        if not self.is_ready or getattr(actions, "dtype", None) != np.float32 or actions.shape != self.actions_shape:
            return super().step_into(actions, obs, ob_row, rew, rew_row)
        self.task.simulations.current = 0
        try:
            rows, rewards, terminated = self.task.step(actions if actions.flags.c_contiguous else actions.copy())
            rew[rew_row] = rewards
            if isinstance(obs, np.ndarray):
                obs[ob_row] = rows
            else:
                for k, row in enumerate(rows):
                    obs[ob_row, k] = row
            return self._count(rewards, terminated, rows, obs, ob_row)
        except Exception as error:
            self._raise(error, self.task.simulations.current, "step")

    def _count(
        self, rewards: list[float], terminated: list[bool] | None, rows: np.ndarray, obs: Any, ob_row: int
    ) -> Sequence[tuple]:
        """Count the step as the wrappers would, and reset environments whose episode ended; return these episodes."""
        ended: Sequence[tuple] = ()
        for k, layers in enumerate(self.layers):
            has_terminated = terminated is not None and terminated[k]
            truncated = layers.count((rewards[k],), has_terminated)
            if has_terminated or truncated:
                ended = (*ended, (k, rows[k].copy(), {}, has_terminated, truncated))
                obs[ob_row, k] = self.reset_one(k)
        return ended
