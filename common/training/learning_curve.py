"""`LearningCurve`: a callback that keeps the rows of the log in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from common.training.callbacks import Callback

if TYPE_CHECKING:
    from common.training.loop import TrainingLoop


class LearningCurve(Callback):
    """Keeps what `progress.csv` would contain, so that the learning curve needs no files.

    All ranks have equal values, except TimeElapsed. One object can follow several trainings in turn; its rows then
    follow each other.

    Attributes:
        rows: [{name: number}], one entry per iteration, with the names of `progress.csv`.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def after_iteration(self, training: TrainingLoop, stats: Mapping[str, float]) -> None:
        """Keep the row of this iteration."""
        self.rows.append(dict(stats))

    def column(self, name: str) -> list[float]:
        """Return one number per iteration; NaN where an iteration has none.

        Args:
            name: as in `progress.csv`, such as 'loss_kl'.

        Raises:
            KeyError: if no iteration has it.
        """
        if not any(name in row for row in self.rows):
            raise KeyError(f"{name}: not one of {', '.join(sorted({key for row in self.rows for key in row}))}")
        return [row.get(name, float("nan")) for row in self.rows]

    @property
    def timesteps(self) -> list[float]:
        """Environment steps of all ranks at the end of each iteration."""
        return self.column("TimestepsSoFar") if self.rows else []

    @property
    def returns(self) -> list[float]:
        """Mean return of the last 100 training episodes at the end of each iteration; NaN before the first one ends."""
        return self.column("EpRewMean") if self.rows else []

    @property
    def lengths(self) -> list[float]:
        """Mean length of the same episodes, in steps."""
        return self.column("EpLenMean") if self.rows else []
