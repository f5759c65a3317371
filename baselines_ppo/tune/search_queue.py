"""The trainings of a search as a queue: opens trials, reports returns on the way, and ends trials."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from baselines_ppo.sweep.directory import RunsDirectory
from baselines_ppo.sweep.plan import SweepRun
from baselines_ppo.sweep.processes import RunProcess, RunQueue
from baselines_ppo.tune.search_space import Dimension
from baselines_ppo.tune.trial_runs import TrialRuns
from baselines_ppo.tune.trial_store import TrialStore
from common.errors import UserError

if TYPE_CHECKING:
    from baselines_ppo.tune.display import SearchDisplay

READ_SECONDS = 1.0  # between two readings of the logs of running trainings

MakeRuns = Callable[[int, dict[str, Any]], list[SweepRun]]


class SearchQueue(RunQueue):
    """The trainings of a search. The next trial is proposed only when a process is free, from all results so far.

    Args:
        store: the trials.
        space: what is searched.
        trials: number of trials after which the search ends.
        folder: the directory of the trainings.
        make_runs: function (index of a trial, its parameters) that returns its trainings; raises UserError if its
            settings are invalid together.
        display: shows what happens.
    """

    def __init__(
        self,
        store: TrialStore,
        space: Sequence[Dimension],
        trials: int,
        folder: RunsDirectory,
        make_runs: MakeRuns,
        display: SearchDisplay,
    ) -> None:
        super().__init__(())
        self.store, self.space, self.folder = store, space, folder
        self.make_runs, self.display = make_runs, display
        self.remaining = trials - len(store.ended())  # trials that have not ended
        self.open: dict[str, TrialRuns] = {}  # {name of a run: its trial}
        self.last_reading = -math.inf

    def has_runs(self) -> bool:
        """Whether runs wait or trials are to be opened."""
        return bool(self.waiting) or self._open_trials() < self.remaining

    def _open_trials(self) -> int:
        return len({id(one) for one in self.open.values()})

    def take(self) -> SweepRun | None:
        """Return the next training of an open trial, or else the first one of a new trial."""
        while not self.waiting and self._open_trials() < self.remaining:
            self._open_trial()
        return super().take()

    def _open_trial(self) -> None:
        """Open the next trial; it fails at once if its settings are invalid together."""
        opened = self.store.ask(self.space)
        try:
            runs = self.make_runs(opened.index, opened.params)
        except UserError as error:
            self.store.fail(opened, error)
            self.remaining -= 1
            self.display.trial_ended(opened, "failed", str(error))
            return
        trial = TrialRuns(opened, runs, self.folder.path)
        self.display.trial_opened(trial)
        self.open |= dict.fromkeys((run.name for run in runs), trial)
        for run in runs:
            if (metrics := self.folder.final_metrics(run)) is None:
                self.waiting.append(run)
            else:
                self.display.skipped(run)
                self._add_score(trial, run, metrics["mean_return"])
        self._report(trial)

    def ended(self, child: RunProcess, stopping: bool) -> None:
        """Record that a training has ended.

        Args:
            child: its process.
            stopping: whether all trainings have been asked to end; then their trials remain open in the storage.
        """
        trial = self.open.get(child.run.name)
        if trial is None:  # the trial has ended before
            self.display.stopped(child.run)
        elif child.process.returncode == 0:
            try:
                metrics = self.folder.mark_done(child.run)
            except UserError as error:
                self._fail(trial, child.run, error)
                return
            self.display.finished(child.run, metrics)
            self._add_score(trial, child.run, metrics["mean_return"])
            self._report(trial)
        elif stopping:
            self.display.stopped(child.run)
        else:
            self._fail(trial, child.run, child.failure_reason())

    def watch(self, children: Sequence[RunProcess]) -> None:
        """Report the returns of running trainings, and kill those whose trial has ended."""
        if time.monotonic() - self.last_reading >= READ_SECONDS:
            self.last_reading = time.monotonic()
            for trial in {id(one): one for one in self.open.values()}.values():
                self._report(trial)
        for child in children:
            if child.run.name not in self.open:
                child.kill()

    def _add_score(self, trial: TrialRuns, run: SweepRun, score: float | None) -> None:
        if run.name not in self.open:
            return
        if score is None or not math.isfinite(score):
            self._fail(trial, run, f"its return is {score}: no episode ended" if score is None else f"return {score}")
            return
        trial.scores[run.name] = score

    def _report(self, trial: TrialRuns) -> None:
        """Report the new returns of a trial; end it if it is complete, or worse than others at the same point."""
        if trial.runs[0].name not in self.open:
            return
        for step, value in trial.new_values():
            trial.opened.trial.report(value, step)
            if trial.opened.trial.should_prune():
                self._close(trial)
                self.store.prune(trial.opened)
                self.display.trial_ended(trial.opened, "stopped early", f"return {value:.4g}, below the median")
                return
        if trial.is_complete:
            self._close(trial)
            self.store.complete(trial.opened, trial.ordered_scores())
            self.display.trial_completed(trial)

    def _fail(self, trial: TrialRuns, run: SweepRun, reason: object) -> None:
        self._close(trial)
        self.store.fail(trial.opened, f"{run.name}: {reason}")
        self.display.trial_ended(trial.opened, "failed", f"{run.name}: {reason}")

    def _close(self, trial: TrialRuns) -> None:
        """Forget a trial's trainings; those that run are killed by the next `watch`."""
        names = {run.name for run in trial.runs}
        self.open = {name: one for name, one in self.open.items() if name not in names}
        self.waiting = deque(run for run in self.waiting if run.name not in names)
        self.remaining -= 1
