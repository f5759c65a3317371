"""Statistics of one iteration: the row of the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from common.rollouts.advantages import explained_variance

if TYPE_CHECKING:
    from common.training.loop import TrainingLoop


class SegmentStatistics(NamedTuple):
    """One rank's part of the statistics.

    Attributes:
        ep_rets, ep_lens: returns and lengths of the episodes that ended in it.
        steps: environment steps.
        explained_variance: of the returns by the value function before the update.
    """

    ep_rets: list[float]
    ep_lens: list[int]
    steps: int
    explained_variance: float


def segment_statistics(seg: Mapping[str, Any]) -> SegmentStatistics:
    """Return the statistics of a segment that has `vpred` and `tdlamret`."""
    valid = seg["valid"]
    explained = explained_variance(seg["vpred"][valid], seg["tdlamret"][valid])
    return SegmentStatistics(seg["ep_rets"], seg["ep_lens"], seg["steps"], explained)


def log_row(
    training: TrainingLoop, by_rank: Sequence[SegmentStatistics], metrics: Mapping[str, float]
) -> dict[str, float]:
    """Return the row of the log, {column: number}.

    Args:
        training: its counters include the iteration.
        by_rank: every rank's statistics of the iteration.
        metrics: the algorithm's own columns.
    """

    def mean(buffer: Sequence[float]) -> float:
        return float(np.mean(buffer)) if buffer else float("nan")

    return {
        "EpLenMean": mean(training.lenbuffer),
        "EpRewMean": mean(training.rewbuffer),
        "EpThisIter": sum(len(rank.ep_rets) for rank in by_rank),
        "EpisodesSoFar": training.episodes_so_far,
        "TimestepsSoFar": training.timesteps_so_far,
        "TimeElapsed": training.elapsed,
        "ev_tdlam_before": float(np.mean([rank.explained_variance for rank in by_rank])),
        **{name: float(value) for name, value in metrics.items()},
    }
