"""The vector environment of Gymnasium's MuJoCo tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from common.vec_env.in_process import InProcessVectorEnv
from common.vec_env.mujoco.recognition import Layers, layers_of, task_class
from common.vec_env.mujoco.task import Task


class MujocoVectorEnv(InProcessVectorEnv):
    """Steps K environments of one of Gymnasium's MuJoCo tasks through MuJoCo's own functions.

    Observations, rewards and ends are bit-identical to those of `InProcessVectorEnv`. Resets and `step` run the
    environments' own code. Infos of episodes that end within `step_into` are empty.

    Args:
        envs: the environments.
        layers: their wrappers.
        task: the formulas.
    """

    def __init__(self, envs: Sequence[gym.Env], layers: Sequence[Layers], task: Task) -> None:
        super().__init__(envs)
        self.layers, self.task = layers, task
        self.is_ready = False
        self.actions_shape = (self.num_envs, *self.single_action_space.shape)

    def subset(self, start: int, end: int) -> InProcessVectorEnv:
        """Return environments `start` to `end` - 1 as a vector environment."""
        return fast_vector_env(self.envs[start:end])

    def step_into(self, actions: Any, obs: Any, ob_row: int, rew: np.ndarray, rew_row: int) -> Sequence[tuple]:
        """Step every environment, as `InProcessVectorEnv.step_into`, with empty infos."""
        if rew_row == 0 or not self.is_ready:  # parameters may have changed since the last segment
            self.is_ready = all(layers.is_ready() for layers in self.layers) and self.task.refresh()
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
            has_terminated, truncated = terminated is not None and terminated[k], False
            limit, monitor, stagger = layers.limit, layers.monitor, layers.stagger
            if limit is not None:
                limit._elapsed_steps += 1
                truncated = limit._elapsed_steps >= limit._max_episode_steps
            if monitor is not None:
                monitor.count(rewards[k], has_terminated or truncated)
            if stagger is not None:
                stagger.steps_left -= 1
                truncated = truncated or not stagger.steps_left
            if has_terminated or truncated:
                ended = (*ended, (k, rows[k].copy(), {}, has_terminated, truncated))
                obs[ob_row, k] = self.reset_one(k)
        return ended


def fast_vector_env(envs: Sequence[gym.Env]) -> InProcessVectorEnv:
    """Return the vector environment that steps `envs` fastest: a `MujocoVectorEnv` for tasks that are known."""
    layers = [layers_of(env) for env in envs]
    known = [layer for layer in layers if layer is not None]
    if len(known) < len(envs) or len({type(layer.unwrapped) for layer in known}) != 1:
        return InProcessVectorEnv(envs)
    unwrapped = [layer.unwrapped for layer in known]
    classes = {task_class(env) for env in unwrapped}
    if None in classes or len(classes) != 1:
        return InProcessVectorEnv(envs)
    try:
        task = classes.pop()(unwrapped)
    except (AttributeError, KeyError, ValueError, IndexError, TypeError):  # a model without the bodies of the task
        return InProcessVectorEnv(envs)
    return MujocoVectorEnv(envs, known, task)
