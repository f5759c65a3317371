"""Shows a search: on a terminal a table of the open trials and the best one, elsewhere lines."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from baselines_ppo.cli.command_lines import format_value
from baselines_ppo.sweep.directory import RunProgress
from baselines_ppo.sweep.display import SweepDisplay, SweepStatus, format_mean_and_std
from baselines_ppo.sweep.plan import SweepRun
from baselines_ppo.tune.trial_runs import TrialRuns
from baselines_ppo.tune.trial_store import INDEX, SCORES, OpenTrial, TrialStore
from common.formatting import format_duration, format_number

if TYPE_CHECKING:
    from rich.table import Table

STATE_WORDS = {"COMPLETE": "completed", "PRUNED": "stopped early", "FAIL": "failed"}


def format_params(params: Mapping[str, Any]) -> str:
    """Return {setting: value} as text, such as "gamma=0.99, lam=0.9512"."""
    shown = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in params.items()}
    return ", ".join(
        f"{name}={value if isinstance(value, str) else format_value(value)}" for name, value in shown.items()
    )


class SearchStatus(SweepStatus):
    """The state of a search.

    Args:
        store: the trials.
        total: number of trials after which the search ends.
        read_progress: function that returns a run's progress.
        fresh_trials: the work of the final check, as a number of trials; for the remaining time.

    Attributes:
        outcomes: {"completed", "stopped early" or "failed": number of trials}.
        best: (score, index, parameters, scores of the seeds) of the best trial, or None.
        open: {index: open trial}.
    """

    def __init__(
        self, store: TrialStore, total: int, read_progress: Callable[[SweepRun], RunProgress], fresh_trials: float
    ) -> None:
        super().__init__([], [], read_progress, {})
        self.total, self.fresh_trials = total, fresh_trials
        self.outcomes = dict.fromkeys(STATE_WORDS.values(), 0)
        for one in store.ended():
            self.outcomes[STATE_WORDS[one.state.name]] += 1
        found = store.best()
        self.best = found and (found.value, found.user_attrs[INDEX], dict(found.params), found.user_attrs[SCORES])
        self.open: dict[int, TrialRuns] = {}
        self.gained = 0.0  # trials that this process has completed
        self.initial: dict[int, float] = {}

    def add(self, trial: TrialRuns) -> None:
        """Add an open trial."""
        for run in trial.runs:
            self.progress[run.name], self.states[run.name] = self.read_progress(run), "waiting"
        self.open[trial.opened.index] = trial
        self.initial[trial.opened.index] = self.fraction(trial)

    def remove(self, index: int, outcome: str) -> None:
        """Remove an open trial that has ended; of one that never was open, only count it."""
        if self.open.pop(index, None) is not None:
            self.gained += 1 - self.initial[index]
        self.outcomes[outcome] += 1

    def fraction(self, trial: TrialRuns) -> float:
        """Return the completed fraction of an open trial."""
        done = [1.0 if run.name in trial.scores else self.progress[run.name].fraction for run in trial.runs]
        return sum(done) / len(done)

    def left(self) -> float:
        """Return the remaining seconds, with those of the final check; NaN if that is unknown."""
        open_now = {index: self.fraction(trial) for index, trial in self.open.items()}
        gained = self.gained + sum(max(now - self.initial[index], 0.0) for index, now in open_now.items())
        rest = self.total - sum(self.outcomes.values()) - sum(open_now.values()) + self.fresh_trials
        return max(rest, 0.0) * (time.monotonic() - self.began) / gained if gained > 0 else math.nan

    def summary(self) -> str:
        """Return one line about the whole search."""
        counts = [f"{number} {word}" for word, number in self.outcomes.items() if number and word != "completed"]
        speeds = [speed for speed in map(self.speed, self._running()) if not math.isnan(speed)]
        parts = [
            ", ".join([f"{sum(self.outcomes.values())} of {self.total} trials ended", *counts]),
            f"best {format_number(float(self.best[0]))} of trial {self.best[1]}" if self.best else "",
            f"{sum(speeds):,.0f} steps/s" if speeds else "",
            f"{format_duration(time.monotonic() - self.began)}, {format_duration(self.left())} left",
        ]
        return "; ".join(part for part in parts if part)

    def _running(self) -> list[str]:
        return [name for name, state in self.states.items() if state == "running"]

    def table(self) -> Table:
        """Return the table: one row for each open trial, and one for the best."""
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, caption=self.summary(), caption_justify="left")
        for name in ("trial", "done", "return", "steps/s"):
            table.add_column(name, justify="right")
        table.add_column("settings", overflow="fold")
        for index, trial in sorted(self.open.items()):
            speeds = [one for one in (self.speed(run.name) for run in trial.runs) if not math.isnan(one)]
            table.add_row(
                str(index),
                f"{self.fraction(trial):.0%}",
                format_mean_and_std(list(trial.scores.values())),
                f"{sum(speeds):,.0f}" if speeds else "",
                format_params(trial.opened.params),
            )
        if self.best:
            _, index, params, scores = self.best
            table.add_row(f"best: {index}", "100%", format_mean_and_std(scores), "", format_params(params))
        return table


class SearchDisplay(SweepDisplay):
    """Shows a `SearchStatus` while trials start and end. A context manager.

    Args:
        status: the status.
        stream: where to print; stdout if None.
    """

    status: SearchStatus

    def __init__(self, status: SearchStatus, stream: TextIO | None = None) -> None:
        super().__init__(status, stream)

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.stop()

    def trial_opened(self, trial: TrialRuns) -> None:
        """Show that a trial has started."""
        self.status.add(trial)
        if not self.live:
            self.print_line(f"trial {trial.opened.index}: started; {format_params(trial.opened.params)}")

    def trial_completed(self, trial: TrialRuns) -> None:
        """Show the score of a trial."""
        scores, index = trial.ordered_scores(), trial.opened.index
        score = statistics.fmean(scores)
        if self.status.best is None or score > self.status.best[0]:
            self.status.best = (score, index, trial.opened.params, scores)
        self._end(index, "completed", f"mean return {format_mean_and_std(scores)}")

    def trial_ended(self, opened: OpenTrial, outcome: str, reason: str) -> None:
        """Show that a trial has been stopped early or has failed."""
        self._end(opened.index, outcome, f"{outcome}, {reason}")

    def _end(self, index: int, outcome: str, text: str) -> None:
        self.status.remove(index, outcome)
        if not self.live or outcome == "failed":
            self.print_line(f"trial {index}: {text}; {self.status.summary()}")

    def started(self, run: SweepRun) -> None:
        """Record that a training has started."""
        self.status.states[run.name] = "running"

    def skipped(self, run: SweepRun) -> None:
        """Record that a training had ended in an earlier command."""
        self.status.states[run.name] = "done"

    def finished(self, run: SweepRun, metrics: Mapping[str, Any]) -> None:
        """Record that a training has ended normally."""
        self.status.states[run.name] = "done"
