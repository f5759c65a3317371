"""`python -m baselines_ppo.tune`: searches for settings with a high return.

    python -m baselines_ppo.tune --env Hopper-v4 --trials 50 --seeds 3 --storage tuning.db

One trial trains one set of settings with several seeds, each in a separate process; its score is the mean of their
returns. A search may be killed at any time; the same command continues it.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from baselines_ppo.cli.command_lines import to_argv
from baselines_ppo.cli.errors import run_command
from baselines_ppo.config.combinations import check_flag_combinations
from baselines_ppo.config.config_files import load_overrides
from baselines_ppo.config.registry import MACHINE_SETTINGS, NOT_SWEEPABLE
from baselines_ppo.config.resolved_config import ResolvedConfig
from baselines_ppo.experiment.directory import default_storage_path, runs_root
from baselines_ppo.experiment.setup import resolve_config
from baselines_ppo.sweep.directory import RunsDirectory
from baselines_ppo.sweep.plan import SweepRun
from baselines_ppo.sweep.processes import PROGRAM, RunProcess, launcher, run_all, run_argv, run_environment
from baselines_ppo.tune.cli import PROG, parse
from baselines_ppo.tune.conclusion import Conclusion
from baselines_ppo.tune.display import SearchDisplay, SearchStatus
from baselines_ppo.tune.search_queue import SearchQueue
from baselines_ppo.tune.search_space import chosen_space, default_space
from baselines_ppo.tune.trial_store import TrialStore, storage_errors, used_directory
from common.distributed.launcher import launcher_world_size
from common.errors import UserError
from common.runtime import os_features
from common.runtime.cpu import usable_cpu_count
from common.runtime.stop_signals import StopSignals, not_ignored


def main(argv: Sequence[str] | None = None, program: Sequence[str] = PROGRAM) -> int:
    """Run the search that the command line describes.

    Args:
        argv: the command line; `sys.argv` if None.
        program: run.py as arguments.

    Returns:
        The exit status. 0: the search is done. 1: no trial has completed, or a training of the check failed. 2: invalid
        arguments. 128 + n: stopped by signal n.
    """
    words = list(sys.argv[1:] if argv is None else argv)

    def search() -> int:
        one = SettingSearch(*parse(words), words, program)
        return one.print_plan() if one.args.dry_run else one.run()

    return run_command(search, PROG)


class SettingSearch:
    """A validated search. Nothing has been started or written.

    Args:
        explicit, args: result of `baselines_ppo.tune.cli.parse`.
        words: the command line.
        program: run.py as arguments.

    Raises:
        UserError: for invalid settings, or a storage or directory that cannot be used.
    """

    def __init__(
        self, explicit: Mapping[str, Any], args: argparse.Namespace, words: Sequence[str], program: Sequence[str]
    ) -> None:
        world_size = launcher_world_size()[0]
        if world_size > 1:
            raise UserError(
                f"a search starts mpirun itself, but mpirun has started {world_size} searches; leave it out, and "
                "give --ranks"
            )
        self.args, self.program = args, program
        launcher(args.ranks)
        self.fixed = fixed_settings(explicit, args.config, args.ranks)
        cores = usable_cpu_count()
        self.jobs = min(args.jobs or max(1, cores // args.ranks), args.trials * args.seeds)
        self.cores = max(1, cores // (self.jobs * args.ranks))
        self.base = self.resolve(self.fixed)
        if args.search:
            self.space = chosen_space(args.search, self.fixed, self.resolve)
        else:
            self.space = default_space(self.fixed, self.resolve, str(self.base.run.alg))
        storage = args.storage or str(default_storage_path(self.fixed["env"]))
        self.folder = RunsDirectory(
            args.tune_dir or used_directory(storage, args.study, runs_root()), "search", "--tune-dir"
        )
        self.storage = storage
        given = [] if args.storage else ["--storage", storage]
        self.resume_command = shlex.join(["python", "-m", PROG, *words, *given])

    def resolve(self, explicit: Mapping[str, Any]) -> ResolvedConfig:
        """Return the settings of a run; UserError for invalid ones."""
        check_flag_combinations(explicit)
        return resolve_config(explicit, self.args.ranks, self.cores)

    def definition(self) -> dict[str, Any]:
        """Return what all trials of the search have in common, as JSON values."""
        args = self.args
        return {
            "settings": dict(sorted(self.fixed.items())),
            "--search": sorted(map(str, self.space)),
            "--seeds": args.seeds,
            "--seed": args.seed,
            "--ranks": args.ranks,
            "--prune": args.prune,
        }

    def print_plan(self) -> int:
        """Print the search space and the settings of all trials; return the exit status."""
        print("\n".join(f"--search {one}" for one in self.space))
        print(shlex.join([*self.program, *to_argv(self.fixed)]))
        return 0

    def make_runs(self, name: str, params: Mapping[str, Any], seeds: Sequence[int]) -> list[SweepRun]:
        """Return one training per seed. It draws no report unless that is asked for, because the drawing takes seconds.

        Args:
            name: of their directories, before the seed.
            params: {setting: value} besides those of all trials.
            seeds: their seeds.

        Raises:
            UserError: if the settings are invalid together.
        """
        quick = {} if self.fixed.get("film") else {"report": False}
        explicit = [{**quick, **self.fixed, **params, "seed": seed} for seed in seeds]
        return [SweepRun(f"{name}seed{one['seed']}", one, self.resolve(one)) for one in explicit]

    def trial_runs(self, index: int, params: Mapping[str, Any]) -> list[SweepRun]:
        """Return the trainings of a trial."""
        return self.make_runs(f"trial-{index:04}/", params, range(self.args.seed, self.args.seed + self.args.seeds))

    def start(self, run: SweepRun) -> RunProcess | None:
        """Start a training; return None while a process of an earlier command still trains it."""
        if self.folder.is_locked(run):
            return None
        self.folder.discard_inexact(run)
        argv = run_argv(run, self.folder, self.args.ranks, self.program, exact=True)
        output = self.folder.path / run.name / "output.txt"
        return RunProcess(run, argv, run_environment(run, self.cores), output)

    def open_store(self) -> TrialStore:
        """Open the storage, lock the directory, and enter the trials again that a kill has interrupted."""
        args = self.args
        store = TrialStore(self.storage, args.study, self.definition(), args.seed, args.prune != "none")
        if store.is_new and self.folder.has_files():
            raise UserError(
                f"search directory {self.folder.path} contains other files, and {self.storage} has no search yet; "
                "choose another --tune-dir"
            )
        if warning := self.folder.acquire():
            print(f"{PROG}: {warning}", file=sys.stderr, flush=True)
        store.begin()
        return store

    def run(self) -> int:
        """Run all trials that have not ended, and the check on fresh seeds; return the exit status."""
        try:
            store = self.open_store()
            with storage_errors(store.optuna, self.storage):
                return self.run_stored(store)
        finally:
            self.folder.release()

    def run_stored(self, store: TrialStore) -> int:
        """Run the search of an open storage; return the exit status."""
        recovered = store.recover()
        ended = len(store.ended())
        print(
            f"{self.args.trials} trials of {self.args.seeds} seeds, {ended} ended, {self.jobs} trainings at the same "
            f"time  ->  {self.folder.path}\nsearched: {' '.join(map(str, self.space))}",
            flush=True,
        )
        if recovered:
            print(f"interrupted before, and continued: trial {', '.join(map(str, recovered))}", flush=True)
        with StopSignals(not_ignored(os_features.signals("SIGINT", "SIGTERM", "SIGHUP"))) as signals:
            if ended < self.args.trials:
                self.run_trials(store, signals)
            status = 0 if signals.received else Conclusion(self, store).run(signals)
        if signals.received or status:
            print(f"continue with: {self.resume_command}", flush=True)
        return 128 + signals.received[0] if signals.received else status

    def run_trials(self, store: TrialStore, signals: StopSignals) -> None:
        """Run the trials that have not ended."""
        fresh = 2 * self.args.fresh_seeds / self.args.seeds
        status = SearchStatus(store, self.args.trials, self.folder.progress, fresh)
        with SearchDisplay(status) as display:
            queue = SearchQueue(store, self.space, self.args.trials, self.folder, self.trial_runs, display)

            def on_exit(child: RunProcess) -> None:
                queue.ended(child, stopping=bool(signals.received))

            run_all(queue, self.jobs, self.start, on_exit, display, signals)


def fixed_settings(explicit: Mapping[str, Any], config: Path | None, ranks: int) -> dict[str, Any]:
    """Return the settings of all trials: the explicit ones, completed by those of a file for --config if there is one.

    Raises:
        UserError: if the environment is missing, or the file cannot be read.
    """
    fixed = dict(explicit)
    if config is not None:
        found, _ = load_overrides(config, fixed, ranks)
        omitted = ("seed", *NOT_SWEEPABLE, *MACHINE_SETTINGS)
        fixed = {name: value for name, value in found.items() if name not in omitted} | fixed
    if "env" not in fixed:
        raise UserError("--env is missing; name a Gymnasium environment, such as --env Hopper-v4")
    return fixed
