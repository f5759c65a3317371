"""The trainings of one trial: their scores, and their returns on the way, which decide whether the trial is stopped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baselines_ppo.experiment.progress import stop_criteria
from baselines_ppo.sweep.directory import last_row
from baselines_ppo.sweep.plan import SweepRun
from baselines_ppo.tune.trial_store import OpenTrial
from common.runs.results import RunResults

PARTS = 10  # points of a training at which its return is read


class TrialRuns:
    """An open trial and its trainings.

    Args:
        opened: the trial.
        runs: its trainings, one per seed.
        folder: the directory of the search.

    Attributes:
        scores: {name of a run: mean return of its last 100 episodes} of the runs that have ended.
        next_step: the next point whose return is reported, counted over the parts of all trainings.
    """

    def __init__(self, opened: OpenTrial, runs: Sequence[SweepRun], folder: Path) -> None:
        self.opened, self.runs, self.folder = opened, runs, folder
        self.scores: dict[str, float] = {}
        self.next_step = 1
        self._curves: list[list[float]] = [[] for _ in runs]

    @property
    def is_complete(self) -> bool:
        """Whether all trainings have ended."""
        return len(self.scores) == len(self.runs)

    def ordered_scores(self) -> list[float]:
        """Return the scores in the order of the seeds."""
        return [self.scores[run.name] for run in self.runs]

    def new_values(self) -> Iterator[tuple[int, float]]:
        """Yield (step, value) of the points that have been reached since the last call, without the last one.

        The trainings are read in the order of the seeds, so that the values do not depend on how many run at the same
        time. Step 10 s + p is the end of part p of training s. The value is the mean, over the trainings up to s, of
        the return at the end of part p. A point before the first finished episode has no value.
        """
        while self.next_step < PARTS * len(self.runs):
            number, part = divmod(self.next_step - 1, PARTS)
            self._read(number)
            if len(self._curves[number]) <= part:
                return
            value = float(np.mean([curve[part] for curve in self._curves[: number + 1]]))
            step, self.next_step = self.next_step, self.next_step + 1
            if math.isfinite(value):
                yield step, value

    def _read(self, number: int) -> None:
        """Read the returns of a training at the parts that it has completed."""
        run, curve = self.runs[number], self._curves[number]
        if len(curve) == PARTS:
            return
        path, is_done = self.folder / run.name, run.name in self.scores
        row = last_row(path / "progress.csv")
        if row is not None and (is_done or progress_of_row(run.limits, row) >= (len(curve) + 1) / PARTS):
            curve[:] = returns_at_parts(RunResults(path), run.limits, is_done)


def progress_of_row(limits: Mapping[str, float], row: Mapping[str, float]) -> float:
    """Return the completed fraction of a training at a row of its progress.csv; NaN if it is limited by iterations."""
    if "max_iters" in limits:
        return math.inf  # the rows must be counted
    done = int(row["TimestepsSoFar"]), int(row["EpisodesSoFar"]), 0, row["TimeElapsed"]
    return stop_criteria(limits).progress(*done)


def returns_at_parts(results: RunResults, limits: Mapping[str, float], is_done: bool) -> list[float]:
    """Return the mean return of 100 episodes in progress.csv at the end of each completed part of a training.

    Args:
        results: the training's files.
        limits: {stop setting: value} of its length.
        is_done: whether it has ended; then its last row is the end of all parts.
    """
    columns = [results.column(name) for name in ("steps", "episodes", "time", "return")]
    if any(column is None for column in columns):
        return []
    criteria, found = stop_criteria(limits), []
    rows: Any = zip(*columns)
    value = math.nan
    for i, (steps, episodes, seconds, value) in enumerate(rows, 1):
        fraction = criteria.progress(steps, episodes, i, seconds)
        # rounding: 0.3 * 10 is above 3 - 1e-9
        found += [float(value)] * (min(math.floor(fraction * PARTS + 1e-9), PARTS) - len(found))
    return found + [float(value)] * (PARTS - len(found)) if is_done else found
