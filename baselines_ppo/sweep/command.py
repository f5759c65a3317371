"""`python -m baselines_ppo.sweep`: many runs from one line.

    python -m baselines_ppo.sweep --env Hopper-v4 Walker2d-v4 --seed 0-4 --clip-param 0.1 0.2

Every run is a separate process. A sweep may be killed at any time; the same --sweep-dir resumes it.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from baselines_ppo.cli.errors import run_command
from baselines_ppo.config.config_files import load_overrides
from baselines_ppo.config.registry import MACHINE_SETTINGS, NOT_SWEEPABLE
from baselines_ppo.experiment.directory import default_sweep_path
from baselines_ppo.sweep.cli import parse
from baselines_ppo.sweep.directory import SweepDirectory, extend_values
from baselines_ppo.sweep.display import SweepDisplay, SweepStatus
from baselines_ppo.sweep.plan import PROG, SweepRun, number_of_runs, plan, varying_settings
from baselines_ppo.sweep.processes import (
    PROGRAM,
    RunProcess,
    RunQueue,
    launcher,
    record_exit,
    run_all,
    run_argv,
    run_environment,
)
from common.distributed.launcher import launcher_world_size
from common.errors import UserError
from common.runtime import os_features
from common.runtime.cpu import usable_cpu_count
from common.runtime.stop_signals import StopSignals, not_ignored

Values = Mapping[str, Sequence[Any]]  # {setting: [values]}


def main(argv: Sequence[str] | None = None, program: Sequence[str] = PROGRAM) -> int:
    """Run the sweep that the command line describes.

    Args:
        argv: the command line; `sys.argv` if None.
        program: run.py as arguments.

    Returns:
        The exit status. 0: all runs are done. 1: some failed. 2: invalid arguments. 128 + n: stopped by signal n.
    """

    def run_sweep() -> int:
        sweep = Sweep(*parse(sys.argv[1:] if argv is None else argv), program)
        return sweep.print_commands() if sweep.dry_run else sweep.run()

    # KeyboardInterrupt occurs before the first run or after the last one; in between SIGINT stops the runs
    return run_command(run_sweep, PROG)


class Sweep:
    """A validated sweep. Nothing has been started; its directory is locked and defined, except for a dry run.

    Args:
        values, args: result of `baselines_ppo.sweep.cli.parse`.
        program: run.py as arguments.

    Raises:
        UserError: for an invalid setting of any run, or a directory that cannot be used.
    """

    def __init__(self, values: Values, args: argparse.Namespace, program: Sequence[str]) -> None:
        world_size = launcher_world_size()[0]
        if world_size > 1:
            raise UserError(
                f"a sweep starts mpirun itself, but mpirun has started {world_size} sweeps; leave it out, and "
                "give --ranks"
            )
        self.program = program
        self.dry_run = args.dry_run
        with_file = with_config(args.config, values, args.ranks or 1)
        self.folder = SweepDirectory(args.sweep_dir or default_sweep_path(with_file.get("env", ())))
        if self.folder.path.is_dir() and not self.dry_run:
            self._acquire()
        self._define(values, args)
        found = {run.name: self.folder.final_metrics(run) for run in self.runs}
        self.done = {name: metrics for name, metrics in found.items() if metrics is not None}
        jobs = ["--jobs", str(args.jobs)] if args.jobs else []
        self.resume_args = ["--sweep-dir", str(self.folder.path), *jobs]
        if not self.dry_run:
            if self.folder.lock is None:
                self._acquire()
            runs = {run.name: run.explicit for run in self.runs}
            self.folder.write_definition({"settings": self.values, "ranks": self.ranks, "runs": runs})

    def _acquire(self) -> None:
        """Lock the directory; print a warning if that is impossible."""
        if warning := self.folder.acquire():
            print(f"{PROG}: {warning}", file=sys.stderr, flush=True)

    def _define(self, values: Values, args: argparse.Namespace) -> None:
        """Set `values`, `ranks`, `jobs` and `runs` from the command line and the directory's definition."""
        before = self.folder.definition()
        self.ranks: int = args.ranks or (before["ranks"] if before else 1)
        if before and self.ranks != before["ranks"]:
            raise UserError(
                f"invalid --ranks {self.ranks}: the runs of the sweep in {self.folder.path} have {before['ranks']}; "
                "leave it out, or choose another --sweep-dir"
            )
        launcher(self.ranks)
        values = with_config(args.config, values, self.ranks)
        if before:
            values = extend_values(before["settings"], values, self.folder.path)
        if "env" not in values:
            raise UserError("--env is missing; name Gymnasium environments, such as --env Hopper-v4 Walker2d-v4")
        self.values = {"env": values["env"], "seed": [0], **values}
        cores = usable_cpu_count()
        self.jobs = min(args.jobs or max(1, cores // self.ranks), number_of_runs(self.values))
        self.cores = max(1, cores // (self.jobs * self.ranks))
        self.runs = plan(self.values, self.ranks, self.cores, before["runs"] if before else {})

    def argv(self, run: SweepRun) -> list[str]:
        """Return the command line that starts or resumes a run."""
        return run_argv(run, self.folder, self.ranks, self.program)

    def print_commands(self) -> int:
        """Print the command line of every run that is not done; return the exit status."""
        for run in self.runs:
            if run.name not in self.done:
                print(shlex.join(self.argv(run)))
        return 0

    def start(self, run: SweepRun) -> RunProcess | None:
        """Start a run; return None while a process of an earlier sweep still trains it."""
        if self.folder.is_locked(run):
            return None
        output = self.folder.path / run.name / "output.txt"
        return RunProcess(run, self.argv(run), run_environment(run, self.cores), output)

    def run(self) -> int:
        """Train all runs that are not done; return the exit status."""
        waiting = [run for run in self.runs if run.name not in self.done]
        print(
            f"{len(self.runs)} runs, {len(self.done)} done, {self.jobs} at the same time  ->  {self.folder.path}",
            flush=True,
        )
        status = SweepStatus(self.runs, varying_settings(self.values), self.folder.progress, self.done)
        with StopSignals(not_ignored(os_features.signals("SIGINT", "SIGTERM", "SIGHUP"))) as signals:
            with SweepDisplay(status) as display:

                def on_exit(child: RunProcess) -> None:
                    record_exit(child, self.folder, display, stopping=bool(signals.received))

                run_all(RunQueue(waiting), self.jobs, self.start, on_exit, display, signals)
            return self.finish(status, signals)

    def finish(self, status: SweepStatus, signals: StopSignals) -> int:
        """Print the last lines; return the exit status."""
        counts = status.counts()
        if counts["done"]:
            print(f"plot with: {shlex.join(['python', '-m', 'baselines_ppo.plot', str(self.folder.path)])}")
        if counts["done"] < len(self.runs):
            what = f"{counts['failed']} failed, see output.txt in their directories; retry"
            if signals.received:
                what = "resume"
            print(f"{what} with: {shlex.join(['python', '-m', PROG, *self.resume_args])}")
        sys.stdout.flush()
        if signals.received:
            return 128 + signals.received[0]
        return 1 if counts["failed"] else 0


def with_config(path: Path | None, values: Values, ranks: int) -> Values:
    """Return the values, completed by those of a configuration file if there is one (see `load_overrides`)."""
    if path is None:
        return values
    found, _ = load_overrides(path, {name: given[0] for name, given in values.items()}, ranks)
    from_file = {name: [value] for name, value in found.items() if name not in (*NOT_SWEEPABLE, *MACHINE_SETTINGS)}
    return {**from_file, **values}
