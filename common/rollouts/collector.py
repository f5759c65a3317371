"""Collects segments: runs the current policy for T steps in K environments."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.vector import AutoresetMode

from common.errors import EnvError, UserError
from common.policies.actor import Actor
from common.policies.inputs.memory import Memory, make_actor
from common.rollouts.episodes import MAX_EPISODE_STEPS, EpisodeCounter
from common.rollouts.finite_check import check_finite
from common.rollouts.segment import Segment, concat_segments
from common.runtime.thread_pool import NamedThreadPool
from common.validation import check_divisible
from common.vec_env.adapter import VectorEnvAdapter
from common.vec_env.in_process import env_range_label

if TYPE_CHECKING:
    import gymnasium as gym

    from common.distributed.heartbeat import Heartbeat
    from common.policies.base import Policy

# of one group of environments: number of steps, final observations [(t, k, ob)], the actor's outputs or None
_GroupResult = tuple[int, list[tuple[int, int, np.ndarray]], list[tuple[np.ndarray, np.ndarray]] | None]


@dataclass
class _StepArrays:
    """Arrays that the steps of one call of `Collector._run` fill.

    Attributes:
        ob, ac: [T + 1, K, ...]; `ac[t + 1]` is the action at `ob[t]`, `ac[0]` the last action before.
        rew: [T, K] float64.
        terminated, truncated: [T, K] bool.
        acted: [T, K] bool, False where an environment ignored the action because it was reset in that step.
        counted: [T, K] bool, False after the last episode that is waited for.
    """

    ob: np.ndarray
    ac: np.ndarray
    rew: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    acted: np.ndarray
    counted: np.ndarray


class Collector:
    """Runs a policy in its environments, segment after segment. Episodes continue from one segment to the next.

    Args:
        env: an `Env` or `VectorEnv`.
        pi: the policy; its `actor` acts with a snapshot of its weights.
        horizon: steps per segment, summed over the environments.
        stochastic: sample actions; otherwise take the mode.
        whole_episodes: continue a segment until each episode that is running at `horizon` has ended. Call `reset`
            before each segment then.
        bootstrap_time_limits: keep the last observation of an episode that a time limit ended, because its value stands
            for the rewards that were cut off; otherwise treat it as terminated. The end of a segment, and a `reset`
            between segments, always bootstrap.
        threads: number of threads that step groups of environments, each with its own actor. They help if one thread
            can run while another is in MuJoCo or TensorFlow, which release Python's lock. Only for an
            `InProcessVectorEnv`, and not with `whole_episodes`.
        heartbeat: its attribute `step` is set to the current step.

    Attributes:
        steps: T, steps per environment and segment.
        num_envs: K.
        env_id: the environment's Gymnasium id; None if it has none.
        adapter: the `VectorEnvAdapter` of `env`.
        monitors: the environments' `Monitor`s; empty if one has none.

    Raises:
        UserError: if `horizon` is not a multiple of K, or the segments could consist of resets only.
    """

    def __init__(
        self,
        env: gym.Env | gym.vector.VectorEnv,
        pi: Policy,
        horizon: int,
        stochastic: bool = True,
        whole_episodes: bool = False,
        bootstrap_time_limits: bool = True,
        threads: int = 1,
        heartbeat: Heartbeat | None = None,
    ):
        self.pi = pi
        self.stochastic = stochastic
        self.whole_episodes = whole_episodes
        self.bootstrap_time_limits = bootstrap_time_limits
        self.heartbeat = heartbeat or SimpleNamespace()
        self.adapter = VectorEnvAdapter(env, pi.encoder)
        self.num_envs = self.adapter.num_envs
        self.env_id = getattr(self.adapter.env.spec, "id", None)
        check_divisible("horizon", horizon, self.num_envs)
        self.steps = horizon // self.num_envs
        if self.adapter.mode is AutoresetMode.NEXT_STEP and self.steps == 1:
            raise UserError(
                "a segment with one step per environment can consist of resets only, because a reset takes a step in "
                f"AutoresetMode.NEXT_STEP; use at least {2 * self.num_envs} steps, or AutoresetMode.SAME_STEP"
            )
        is_native = self.adapter.is_native
        bounds = self.adapter.env.bounds(threads) if is_native and not whole_episodes else [0, self.num_envs]
        self.groups = [(slice(start, end), self.adapter.subset(start, end)) for start, end in zip(bounds, bounds[1:])]
        self.pool = None
        if len(self.groups) > 1:
            self.pool = NamedThreadPool([env_range_label(columns.start, columns.stop) for columns, _ in self.groups])
        self.monitors = self.adapter.env.monitors if is_native else []
        self.obs = None  # [K, ...] encoded observations at which the next segment starts; None before the first reset
        self.episode_counter = EpisodeCounter(self.num_envs)
        self.memory: Memory | None = None  # of all environments, if the policy has one

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """Truncate all running episodes and start new ones, with one seed per environment if `seeds` is given."""
        try:
            self.obs = self.adapter.reset(seeds).copy()
        except EnvError as fault:
            fault.add_context(position="in the reset before the segment")
            raise
        pdtype = self.pi.pdtype
        self.new = np.ones(self.num_envs, bool)
        self.ac = np.zeros((self.num_envs, *pdtype.sample_shape()), pdtype.sample_dtype().as_numpy_dtype)
        self.episode_counter.reset()
        self.memory = Memory(self.num_envs, self.pi.state_size) if self.pi.recurrent else None

    def collect(self, rng: np.random.Generator) -> Segment:
        """Collect one segment.

        Args:
            rng: generator of the action noise.

        Returns:
            The keys of `Segment` that its table assigns to `Collector`; `flatparam` and `vpred` if the actor recorded
            them.

        Raises:
            EnvError: if an environment raised, or returned something that is not finite or not in its space.
            NonFiniteError: if it did so after a non-finite action.
            UserError: if `whole_episodes` is set and an episode does not end.
        """
        if self.obs is None:
            self.reset()
        pieces = [self._run(rng, self.steps)]
        unfinished = ~self.new
        while self.whole_episodes and unfinished.any():
            if sum(len(piece["rew"]) for piece in pieces) > MAX_EPISODE_STEPS:
                raise UserError(
                    f"an episode has not ended after {MAX_EPISODE_STEPS:,} steps; whole_episodes needs episodes that "
                    "end: wrap the environment in gymnasium.wrappers.TimeLimit, or set whole_episodes=False"
                )
            pieces.append(self._run(rng, self.steps, unfinished, len(pieces) * self.steps))
        seg = pieces[0] if len(pieces) == 1 else concat_segments(pieces)
        acted = seg.pop("acted")
        if self.monitors:
            episodes = [episode for monitor in self.monitors for episode in monitor.take_episodes()]
        else:
            episodes = self.episode_counter.count(seg["rew"] * acted, acted, seg["terminated"] | seg["truncated"])
        check_finite(seg["ob"], seg["ac"], seg["rew"], seg["last_ob"], seg["final_obs"], env_id=self.env_id)
        seg["steps"] = int(acted.sum())
        seg["ep_rets"] = [ep_ret for ep_ret, _ in episodes]
        seg["ep_lens"] = [ep_len for _, ep_len in episodes]
        return seg

    def _run(
        self, rng: np.random.Generator, steps: int, unfinished: np.ndarray | None = None, first_step: int = 0
    ) -> Segment:
        """Collect a piece of a segment, which also has the key `acted` (`_StepArrays`).

        Args:
            steps: at most.
            unfinished: [K] bool, changed in place: stop as soon as none of these episodes is running. None: take all
                steps.
            first_step: number of the first step within the segment, for error messages.
        """
        num_envs, pdtype = self.num_envs, self.pi.pdtype
        arrays = _StepArrays(
            ob=np.empty((steps + 1, num_envs, *self.obs.shape[1:]), self.obs.dtype),
            ac=np.empty((steps + 1, *self.ac.shape), self.ac.dtype),
            rew=np.empty((steps, num_envs)),
            terminated=np.zeros((steps, num_envs), bool),
            truncated=np.zeros((steps, num_envs), bool),
            acted=np.ones((steps, num_envs), bool),
            counted=np.ones((steps, num_envs), bool),
        )
        noise = pdtype.noise(rng, (steps, num_envs)) if self.stochastic else None
        arrays.ob[0], arrays.ac[0] = self.obs, self.ac
        before = None if self.memory is None else self.memory.copy()
        run_group = functools.partial(self._run_group, arrays, noise, unfinished, first_step)
        if self.pool is None:
            results = [run_group(*self.groups[0])]
        else:
            calls = [functools.partial(run_group, *group) for group in self.groups]
            results = self.pool.gather(self.pool.submit_all(calls))
        piece = self._piece(arrays, results)
        if before is not None:
            add_memory(piece, before, self.memory)
        return piece

    def _run_group(
        self,
        arrays: _StepArrays,
        noise: np.ndarray | None,
        unfinished: np.ndarray | None,
        first_step: int,
        columns: slice,
        adapter: VectorEnvAdapter,
    ) -> _GroupResult:
        """Take all time steps of one group of environments.

        Args:
            arrays: the `_StepArrays` to fill.
            noise: [T, K, ...] action noise, or None.
            unfinished, first_step: as in `_run`.
            columns: slice of the group's environments.
            adapter: the group's `VectorEnvAdapter`.

        Returns:
            (number of steps, [(t, k, ob)] final observations, the actor's outputs or None).
        """
        memory = None if self.memory is None else self.memory.columns(columns)
        act = make_actor(self.pi, adapter.num_envs, None if noise is None else noise[:, columns], memory)
        outputs = act.outputs if isinstance(act, Actor) else None
        terminated, truncated = arrays.terminated, arrays.truncated
        own_ob, own_ac, own_rew, own_acted = (x[:, columns] for x in (arrays.ob, arrays.ac, arrays.rew, arrays.acted))
        steps, step, final_obs, heartbeat = len(own_rew), adapter.step, [], self.heartbeat
        try:
            for t in range(steps):
                heartbeat.step = t
                chosen = own_ac[t + 1] = act(own_ob[t], t)
                for k, final_ob, has_terminated, has_truncated in step(chosen, t, own_ob, own_rew, own_acted):
                    k += columns.start
                    terminated[t, k], truncated[t, k] = has_terminated, has_truncated
                    if not has_terminated and self.bootstrap_time_limits:
                        final_obs.append((t, k, final_ob))
                if memory is not None:  # what was seen before the end of an episode, or in a reset, is forgotten
                    memory.start[:] = terminated[t, columns] | truncated[t, columns] | ~own_acted[t]
                if unfinished is not None:
                    arrays.counted[t] = unfinished
                    unfinished[:] &= ~(terminated[t] | truncated[t])
                    if not unfinished.any():
                        steps = t + 1
                        break
        except EnvError as fault:
            adapter.write_rewards()
            # a non-finite number in an earlier step may have caused the failure
            acs, k = own_ac[1 : t + 2], columns.start
            check_finite(
                own_ob[: t + 1], acs, own_rew[:t], failed=True, first_step=first_step, first_env=k, env_id=self.env_id
            )
            fault.offset_environment(columns.start).add_context(position=f"at step {first_step + t} of the segment")
            raise
        adapter.write_rewards()
        return steps, final_obs, outputs

    def _piece(self, arrays: _StepArrays, results: list[_GroupResult]) -> Segment:
        """Assemble what all groups returned from `_run_group`, and store where the next piece starts."""
        steps = results[0][0]
        ended = (arrays.terminated | arrays.truncated)[:steps]
        new = np.concatenate([self.new[None], ended])
        per_step = {
            "ob": arrays.ob,
            "ac": arrays.ac[1:],
            "rew": arrays.rew,
            "new": new,
            "prevac": arrays.ac,
            "terminated": arrays.terminated,
            "truncated": arrays.truncated,
            "valid": arrays.acted & arrays.counted,
            "acted": arrays.acted,
        }
        if results[0][2]:
            for i, name in enumerate(("flatparam", "vpred")):
                per_step[name] = np.concatenate([np.stack([call[i] for call in out]) for _, _, out in results], axis=1)
        final_obs = sorted((entry for _, final, _ in results for entry in final), key=lambda entry: entry[:2])
        self.obs, self.ac, self.new = arrays.ob[steps].copy(), arrays.ac[steps].copy(), new[steps].copy()
        last = {"last_ob": arrays.ob[steps], "last_new": new[steps], "final_obs": final_obs}
        return {name: x[:steps] for name, x in per_step.items()} | last


def add_memory(piece: Segment, before: Memory, after: Memory) -> None:
    """Add the keys of a policy with a memory to a piece: its memory before the first step, and where it forgets."""
    forgets = piece["terminated"] | piece["truncated"] | ~piece["acted"]
    piece["state"] = before.state
    piece["start"] = np.concatenate([before.start[None], forgets[:-1]])
    piece["last_start"] = after.start.copy()
