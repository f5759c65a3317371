"""The two data types of an iteration: `Segment`, arrays by time and environment, and `Batch`, arrays by sample.

T: time steps per environment. K: environments of this rank. N = T * K: samples. F: time limits that bootstrap.
This table lists the keys of a segment.

| key of a segment | shape | written by |
| --- | --- | --- |
| `ob`, `ac`, `rew`, `new`, `prevac` | [T, K, ...] | `Collector` |
| `terminated`, `truncated`, `valid` | [T, K] bool | `Collector` |
| `last_ob`, `last_new` | [K, ...] | `Collector` |
| `state`, `start`, `last_start` | [K, S], [T, K], [K] | `Collector`, with a memory |
| `final_obs` | list of F tuples (t, k, ob) | `Collector` |
| `ep_rets`, `ep_lens`, `steps` | lists over episodes; int | `Collector` |
| `rew`, replaced | [T, K] | `RewardNormalizer`, if returns are scaled |
| `flatparam` | [T, K, p] | `Collector`, if the actor recorded its outputs; else `SegmentProcessor` |
| `x`, `bootstrap_x` | [T, K, ...], [K + F, ...] | `SegmentProcessor` |
| `states` | [T, K, S] | `SequenceEvaluator`, with a memory |
| `vpred`, `nextvpred`, `final_vpred` | [T, K], [K], [T, K] | `assign_values`, for `add_values` and `SegmentProcessor` |
| `adv`, `tdlamret` | [T, K] | `add_vtarg_and_adv`; `vpg.add_advantages` |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np


class Segment(TypedDict, total=False):
    """T steps of K environments under one policy, with Baselines' keys. The module's table lists who writes which key.

    Attributes:
        ob: encoded observation before the step.
        ac: action as sampled, not clipped to the action space; `prevac`: the action of the previous step.
        rew: float64 reward; after `RewardNormalizer`, the scaled one.
        new: whether the step is the first of its episode.
        terminated, truncated: how the step ended its episode, if it did.
        valid: False for a sample to leave out: its action was ignored, or it lies after the last complete episode.
        last_ob, last_new: observation after the last step, and whether it starts an episode.
        final_obs: last observations of episodes that a time limit ended, if time limits bootstrap.
        ep_rets, ep_lens: returns and lengths of the episodes that ended.
        steps: number of environment steps.
        x: prepared observations, the network's input; `bootstrap_x`: those of `last_ob` and `final_obs`.
        state: the memory's state before the first step; `states`: after each step.
        start: whether the memory forgets the state before a step; `last_start`: before the observation after the last.
        flatparam: parameters of the action distribution of the policy that acted.
        vpred: V(s_t); `nextvpred`: V(s_T), 0 if the episode has ended; `final_vpred`: V of the entries of `final_obs`,
            else 0.
        adv, tdlamret: advantages and value targets.
    """

    ob: np.ndarray
    ac: np.ndarray
    rew: np.ndarray
    new: np.ndarray
    prevac: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    valid: np.ndarray
    last_ob: np.ndarray
    last_new: np.ndarray
    final_obs: list[tuple[int, int, np.ndarray]]
    ep_rets: list[float]
    ep_lens: list[int]
    steps: int
    x: np.ndarray
    bootstrap_x: np.ndarray
    state: np.ndarray
    states: np.ndarray
    start: np.ndarray
    last_start: np.ndarray
    flatparam: np.ndarray
    vpred: np.ndarray
    nextvpred: np.ndarray
    final_vpred: np.ndarray
    adv: np.ndarray
    tdlamret: np.ndarray


PER_ENV_KEYS = ("last_ob", "last_new", "nextvpred", "state", "last_start")  # [K, ...]
KEYS_WITHOUT_ENV_AXIS = ("final_obs", "ep_rets", "ep_lens", "steps", "bootstrap_x")


@dataclass
class Batch:
    """The samples of a segment as the losses read them, in the order t * K + k. All arrays are [N, ...].

    For a policy with a memory, a sample is a sequence of L steps, and arrays other than `x` are [R, L, ...]
    (`common.rollouts.sequences`).

    Attributes:
        x: prepared observations.
        ac: actions.
        flatparam: distribution parameters of the policy that acted.
        vpred: values of the policy that acted, [N].
        atarg: advantages, [N].
        ret: value targets, [N].
    """

    x: np.ndarray
    ac: np.ndarray
    flatparam: np.ndarray
    vpred: np.ndarray
    atarg: np.ndarray
    ret: np.ndarray

    @classmethod
    def from_segment(cls, seg: Segment) -> Batch:
        """The samples of a segment that has been processed (`SegmentProcessor`) and has its advantages."""
        return cls(
            x=flatten_time_and_envs(seg["x"]),
            ac=flatten_time_and_envs(seg["ac"]),
            flatparam=flatten_time_and_envs(seg["flatparam"]),
            vpred=seg["vpred"].reshape(-1),
            atarg=seg["adv"].reshape(-1),
            ret=seg["tdlamret"].reshape(-1),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """{field: array}, the form that `MinibatchOptimizer` takes."""
        return dict(vars(self))

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> Batch:
        """A batch with `function` applied to each array."""
        return Batch(**{name: function(x) for name, x in vars(self).items()})


def flatten_time_and_envs(x: np.ndarray) -> np.ndarray:
    """[T, K, ...] -> [T * K, ...]."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def bootstrap_observations(seg: Segment) -> list[np.ndarray]:
    """Encoded observations whose values bootstrap: `last_ob` [K, ...], and those of `final_obs` [F, ...] if any."""
    final = [np.stack([ob for _, _, ob in seg["final_obs"]])] if seg["final_obs"] else []
    return [seg["last_ob"], *final]


def network_inputs(seg: Segment) -> np.ndarray:
    """Prepared observations of all samples, of `last_ob` and of `final_obs`, [T * K + K + F, ...]."""
    return np.concatenate([flatten_time_and_envs(seg["x"]), seg["bootstrap_x"]])


def add_values(seg: Segment, values: Callable[[np.ndarray], np.ndarray]) -> None:
    """Add `vpred` [T, K], `nextvpred` [K] and `final_vpred` [T, K] to a segment.

    Args:
        seg: as `Collector.collect` returns it.
        values: function of encoded observations [N, ...] that returns V [N].
    """
    assign_values(seg, values(np.concatenate([flatten_time_and_envs(seg["ob"]), *bootstrap_observations(seg)])))


def assign_values(seg: Segment, vpred: np.ndarray) -> None:
    """Store values under the keys that GAE reads.

    Args:
        seg: a segment, changed in place.
        vpred: [T * K + K + F], V of all samples, then of `last_ob`, then of `final_obs`.
    """
    steps, num_envs = seg["rew"].shape
    samples = steps * num_envs
    seg["vpred"] = vpred[:samples].reshape(steps, num_envs)
    seg["nextvpred"] = vpred[samples : samples + num_envs] * (1 - seg["last_new"])
    seg["final_vpred"] = np.zeros_like(seg["vpred"])
    for (t, k, _), value in zip(seg["final_obs"], vpred[samples + num_envs :]):
        seg["final_vpred"][t, k] = value


def concat_segments(pieces: list[Segment]) -> Segment:
    """Concatenate consecutive segments along time."""
    starts = np.cumsum([0, *(len(piece["rew"]) for piece in pieces)])
    last = {name: pieces[-1][name] for name in ("last_ob", "last_new", "last_start") if name in pieces[-1]}
    last |= {"state": pieces[0]["state"]} if "state" in pieces[0] else {}
    per_step = [name for name in pieces[0] if name not in ("final_obs", *last)]
    final_obs = [(start + t, k, ob) for start, piece in zip(starts, pieces) for t, k, ob in piece["final_obs"]]
    return (
        {name: np.concatenate([piece[name] for piece in pieces]) for name in per_step} | last | {"final_obs": final_obs}
    )


def drop_env_axis(seg: Segment) -> Segment:
    """A segment of a single environment without the environment axis: [T, 1, ...] -> [T, ...], [1, ...] -> [...]."""

    def without_axis(key: str, value: Any) -> Any:
        if key in KEYS_WITHOUT_ENV_AXIS:
            return value
        return value[0] if key in PER_ENV_KEYS else value[:, 0]

    return {key: without_axis(key, value) for key, value in seg.items()}
