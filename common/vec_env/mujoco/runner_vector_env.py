"""The vector environment of tasks whose rewards are computed for many steps together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from common.vec_env.mujoco.locomotion import Runner
from common.vec_env.mujoco.recognition import Layers
from common.vec_env.mujoco.vector_env import MujocoVectorEnv

MAX_STEPS = 256  # whose rewards are computed together
MAX_STATES = 2**15  # of all environments in these steps
FLOAT32 = np.dtype(np.float32)
NEVER = math.inf


class RunnerVectorEnv(MujocoVectorEnv):
    """A `MujocoVectorEnv` of a `Runner`, which computes rewards later.

    Between two steps of MuJoCo, Python's code takes several times as long as in a tight loop, probably because it has
    left the processor's cache. A step therefore only keeps states and actions. The rewards of an environment are
    computed for all of its steps at once, at the end of its episode, after `capacity` steps, or by `write_rewards`; its
    wrappers count these steps then, too.

    Args:
        envs, layers: as for `MujocoVectorEnv`.
        task: the formulas.

    Attributes:
        capacity: number of steps that can wait for their rewards.
        target, row: the array whose rows from `row` on get the rewards; None if no step waits for its reward.
        count: number of steps since `_begin`.
        next_end: value of `count` at which a wrapper ends the next episode.
        ends: [K], the same for each environment.
        states: [capacity, K, nq + nv], after each of these steps; velocities are those of the observations.
        actions: [capacity, K, nu] float32.
        healthy: [capacity, K] bool, after each of these steps.
        first: [K], the first step of each environment that waits for its reward.
        start_x: [K], each environment's x before that step.
        hidden: as `Runner.hidden`.
        views: for each of the steps (flat state, states, velocities, observations), of the memory of `states`.
    """

    task: Runner

    def __init__(self, envs: Sequence[gym.Env], layers: Sequence[Layers], task: Runner) -> None:
        super().__init__(envs, layers, task)
        self.capacity = max(1, min(MAX_STEPS, MAX_STATES // self.num_envs))
        self.target: np.ndarray | None = None
        self.row, self.count, self.next_end = 0, 0, NEVER
        self.states = np.empty((self.capacity, *task.state.values.shape))
        self.actions = np.empty((self.capacity, *self.actions_shape), np.float32)
        self.healthy = np.ones((self.capacity, self.num_envs), bool)
        self.first = [0] * self.num_envs
        self.start_x, self.ends = [0.0] * self.num_envs, [NEVER] * self.num_envs
        self.hidden = -1
        self.views: list[tuple[np.ndarray, ...]] = []

    def reset(self, *, seed: Sequence[int] | None = None, options: dict | None = None) -> tuple[Any, dict]:
        """Start new episodes, as `InProcessVectorEnv.reset`."""
        self.write_rewards()
        return super().reset(seed=seed, options=options)

    def step_into(self, actions: Any, obs: Any, ob_row: int, rew: np.ndarray, rew_row: int) -> Sequence[tuple]:
        """Step every environment, as `InProcessVectorEnv.step_into`, with empty infos; `write_rewards` fills `rew`."""
        i = self.count
        if i == self.capacity or rew is not self.target or rew_row != self.row + i:
            self._begin(rew, rew_row)
            i = 0
        is_known = type(actions) is np.ndarray and actions.dtype is FLOAT32 and actions.shape == self.actions_shape
        if not is_known or not self.is_ready:
            self.write_rewards()
            return super().step_into(actions, obs, ob_row, rew, rew_row)
        task = self.task
        simulations = task.simulations
        simulations.current = 0
        try:
            flat, state, velocities, rows = self.views[i]
            self.actions[i] = actions
            simulations.advance(actions, task.parameters.frame_skip)
            np.concatenate(task.state.views, out=flat)
            unhealthy = task.unhealthy(state)
            task.clip(velocities)
            if type(obs) is np.ndarray:
                obs[ob_row] = rows
            else:
                for k, row in enumerate(rows):
                    obs[ob_row, k] = row
            self.count = i = i + 1
            return self._end_episodes(unhealthy, rows, obs, ob_row) if unhealthy or i == self.next_end else ()
        except Exception as error:
            self._raise(error, simulations.current, "step")

    def _begin(self, rew: np.ndarray, rew_row: int) -> None:
        """Write the rewards of earlier steps, and let those of the next ones go into `rew` from row `rew_row` on.

        At the beginning of a segment, parameters are read again.
        """
        self.write_rewards()
        if rew_row == 0 or not self.is_ready:
            self.read_parameters()
        if not self.is_ready:
            return
        self.target, self.row = rew, rew_row
        if self.hidden != self.task.hidden():
            self.hidden, first_velocity = self.task.hidden(), self.task.first_velocity
            self.views = [(x.reshape(-1), x, x[:, first_velocity:], x[:, self.hidden :]) for x in self.states]
        for k in range(self.num_envs):
            self._begin_episode(k)
        self.next_end = min(self.ends)

    def _begin_episode(self, k: int) -> None:
        """Let the steps of environment `k` that wait for their reward begin here."""
        self.first[k], self.start_x[k] = self.count, self.task.x(k)
        self.ends[k] = self.count + self.layers[k].steps_until_end()

    def _end_episodes(self, unhealthy: Sequence[int], rows: np.ndarray, obs: Any, ob_row: int) -> Sequence[tuple]:
        """Reset environments whose episode ended in the last step; return these episodes as `step_into` does.

        Args:
            unhealthy: numbers of environments.
            rows: [K, n], observations of the last step.
            obs, ob_row: as in `step_into`.
        """
        self.healthy[self.count - 1, list(unhealthy)] = False
        terminated = unhealthy if self.task.ends_unhealthy() else ()
        ended: Sequence[tuple] = ()
        for k in range(self.num_envs):
            if k in terminated or self.count == self.ends[k]:
                truncated = self._write_rewards_of(k, k in terminated)
                ended = (*ended, (k, rows[k].copy(), {}, k in terminated, truncated))
                obs[ob_row, k] = self.reset_one(k)
                self._begin_episode(k)
        self.next_end = min(self.ends)
        return ended

    def _write_rewards_of(self, k: int, terminated: bool = False) -> bool:
        """Write the rewards of environment `k` and let its wrappers count the steps; return whether one truncates."""
        start, end = self.first[k], self.count
        if start == end or self.target is None:
            return False
        x = self.states[start:end, k, 0]
        before = np.concatenate([[self.start_x[k]], x[:-1]])
        rewards = self.task.rewards(before, x, self.actions[start:end, k], self.healthy[start:end, k])
        self.target[self.row + start : self.row + end, k] = rewards
        self.first[k], self.start_x[k] = end, float(x[-1])
        return self.layers[k].count(rewards.tolist(), terminated)

    def write_rewards(self) -> None:
        """Write the rewards of all steps that wait for them."""
        for k in range(self.num_envs):
            self._write_rewards_of(k)
        self.healthy[: self.count] = True
        self.target, self.count, self.first = None, 0, [0] * self.num_envs
