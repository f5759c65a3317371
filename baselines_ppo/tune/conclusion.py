"""The end of a search: its files, and the check of the best settings on fresh seeds."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any, Protocol

from baselines_ppo.sweep.display import SweepDisplay, SweepStatus
from baselines_ppo.sweep.processes import RunProcess, RunQueue, record_exit, run_all
from baselines_ppo.tune.fresh_seeds import compare_pairs, describe_check, fresh_seeds, write_check
from baselines_ppo.tune.results import BEST, TRIALS, draw_figures, print_trials, write_best, write_trials
from baselines_ppo.tune.trial_store import INDEX, TrialStore
from common.runtime.stop_signals import StopSignals

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from optuna.trial import FrozenTrial

    from baselines_ppo.sweep.directory import RunsDirectory
    from baselines_ppo.sweep.plan import SweepRun


class Trainer(Protocol):
    """The part of the search (`SettingSearch`) that the conclusion uses."""

    args: argparse.Namespace
    fixed: dict[str, Any]
    folder: RunsDirectory
    jobs: int

    def make_runs(self, name: str, params: Mapping[str, Any], seeds: Sequence[int]) -> list[SweepRun]:
        """Return one training per seed."""

    def start(self, run: SweepRun) -> RunProcess | None:
        """Start a training."""


class CheckStatus(SweepStatus):
    """The state of the check: one row for the best settings, and one for the default."""

    def label(self, run: SweepRun) -> tuple[str, ...]:
        """Return which settings a run has, the first part of its name."""
        return (run.name.split("/")[1].rpartition("-")[0],)


class Conclusion:
    """Writes the results of a search whose trials have ended, and checks the best settings.

    Args:
        search: the search.
        store: its trials.
    """

    def __init__(self, search: Trainer, store: TrialStore) -> None:
        self.search, self.store = search, store

    def run(self, signals: StopSignals) -> int:
        """Write the files, run the check, and print both; return the exit status."""
        folder, trials = self.search.folder.path, self.store.ended()
        write_trials(trials, folder / TRIALS)
        print_trials(trials, sys.stdout)
        best = self.store.best()
        if best is None:
            print("no trial has completed; the reasons are in the table and in output.txt in the trials' directories")
            return 1
        write_best({**self.search.fixed, **best.params}, folder / BEST)
        draw_figures(self.store, folder)
        train = shlex.join(["python", "-m", "baselines_ppo", "--config", str(folder / BEST)])
        print(f"train with the best settings: {train}", flush=True)
        return self.check(best, signals) if self.search.args.fresh_seeds else 0

    def check(self, best: FrozenTrial, signals: StopSignals) -> int:
        """Train the best and the default settings with fresh seeds, and compare them; return the exit status."""
        search, index = self.search, best.user_attrs[INDEX]
        seeds = fresh_seeds(search.args.seed, search.args.fresh_seeds)
        best_runs = search.make_runs(f"fresh/trial-{index:04}-", best.params, seeds)
        default_runs = search.make_runs("fresh/default-", {}, seeds)
        runs = [run for pair in zip(best_runs, default_runs) for run in pair]
        returns = self.train(runs, signals)
        if signals.received:
            return 0
        if missing := [run.name for run in runs if returns.get(run.name) is None]:
            print(f"no check on fresh seeds: {', '.join(missing)} failed or had no episode")
            return 1
        best_returns, default_returns = (
            [returns[run.name] for run in several] for several in (best_runs, default_runs)
        )
        found = compare_pairs(best_returns, default_returns)
        write_check(search.folder.path, found, index, best.value, seeds)
        for line in describe_check(found, best.value, seeds):
            print(line)
        sys.stdout.flush()
        return 0

    def train(self, runs: Sequence[SweepRun], signals: StopSignals) -> dict[str, float | None]:
        """Train the runs that are not done; return {name of a run: its return} of those that are done.

        Args:
            runs: the runs.
            signals: installed stop signals.
        """
        folder = self.search.folder
        found = {run.name: folder.final_metrics(run) for run in runs}
        metrics = {name: one for name, one in found.items() if one is not None}
        status = CheckStatus(runs, ["settings"], folder.progress, metrics)
        waiting = [run for run in runs if found[run.name] is None]
        if waiting:
            print(f"check on {len(runs) // 2} fresh seeds: {len(waiting)} trainings", flush=True)
            with SweepDisplay(status) as display:

                def on_exit(child: RunProcess) -> None:
                    record_exit(child, folder, display, stopping=bool(signals.received))

                run_all(RunQueue(waiting), self.search.jobs, self.search.start, on_exit, display, signals)
        return {name: one["mean_return"] for name, one in status.metrics.items()}
