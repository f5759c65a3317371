"""Many runs from one line: `python -m baselines_ppo.sweep --env Hopper-v4 Walker2d-v4 --seed 0-4 --clip-param 0.1 0.2`.

Every run is a process of its own. A sweep may be killed at any moment; given its folder again it goes on.
"""

import shlex
import sys

from baselines_ppo.cli.errors import run_command
from baselines_ppo.config.config_files import load_overrides
from baselines_ppo.config.registry import MACHINE_SETTINGS, NOT_SWEEPABLE
from baselines_ppo.experiment.directory import default_sweep_path
from baselines_ppo.sweep.cli import parse
from baselines_ppo.sweep.directory import SweepFolder, extend_values
from baselines_ppo.sweep.display import SweepDisplay, SweepStatus
from baselines_ppo.sweep.plan import PROG, differing, number_of_runs, plan
from baselines_ppo.sweep.processes import PROGRAM, RunProcess, command, environment, launcher, run_all
from common.distributed.launcher import launcher_world_size
from common.errors import UserError
from common.runtime import os_features
from common.runtime.cpu import usable_cpu_count
from common.runtime.stop_signals import StopSignals, not_ignored


def main(argv=None, program=PROGRAM):
    """Run the sweep that the command line asks for; returns the exit status.

    0: all runs are done. 1: some failed. 2: a mistake in what was asked for. 128 + n: ended by signal n.

    Args:
        program: the words of run.py's command line.
    """

    def command_():
        sweep = Sweep(*parse(sys.argv[1:] if argv is None else argv), program)
        return sweep.print_commands() if sweep.dry_run else sweep.run()

    # a KeyboardInterrupt comes before the first run or after the last; between them it is a signal to the runs
    return run_command(command_, PROG)


class Sweep:
    """A sweep that has been checked: nothing of it has been started; its folder is claimed, and says what it is, but for a dry run.

    Args:
        values, args: from `baselines_ppo.sweep.cli.parse`.
        program: the words of run.py's command line.

    Raises:
        UserError: for anything that is wrong in any of its runs.
    """

    def __init__(self, values, args, program):
        if launcher_world_size()[0] > 1:
            raise UserError(
                f"a sweep starts mpirun itself, and here mpirun has started {launcher_world_size()[0]} of them; leave it out, and give --ranks"
            )
        self.program, self.dry_run = program, args.dry_run
        self.folder = SweepFolder(args.sweep_dir or default_sweep_path(with_config(args.config, values, args.ranks or 1).get("env", ())))
        if self.folder.path.is_dir() and not self.dry_run:
            self.claim()
        self.define(values, args)
        self.done = {run.name: figures for run in self.runs if (figures := self.folder.figures(run)) is not None}
        self.again = ["--sweep-dir", str(self.folder.path), *(["--jobs", str(args.jobs)] if args.jobs else [])]
        if not self.dry_run:
            if self.folder.lock is None:
                self.claim()
            self.folder.write_definition(
                {"settings": self.values, "ranks": self.ranks, "runs": {run.name: run.typed for run in self.runs}}
            )

    def claim(self):
        """Take the folder; where it cannot be locked, say so."""
        if warning := self.folder.claim():
            print(f"{PROG}: {warning}", file=sys.stderr, flush=True)

    def define(self, values, args):
        """What is typed, with what the folder says of the sweep already, comes to these `values`, `ranks`, `jobs` and `runs`."""
        before = self.folder.definition()
        self.ranks = args.ranks or (before["ranks"] if before else 1)
        if before and self.ranks != before["ranks"]:
            raise UserError(
                f"--ranks {self.ranks}: the runs of the sweep in {self.folder.path} have {before['ranks']}; leave it out, "
                "or choose another --sweep-dir"
            )
        launcher(self.ranks)
        values = with_config(args.config, values, self.ranks)
        if before:
            values = extend_values(before["settings"], values, self.folder.path)
        if "env" not in values:
            raise UserError(
                "--env is missing; name one Gymnasium environment or several, such as --env Hopper-v4 Walker2d-v4"
            )
        self.values = {"env": values["env"], "seed": [0]} | values
        cores = usable_cpu_count()
        self.jobs = min(args.jobs or max(1, cores // self.ranks), number_of_runs(self.values))
        self.cores = max(1, cores // (self.jobs * self.ranks))
        self.runs = plan(self.values, self.ranks, self.cores, before["runs"] if before else {})

    def command(self, run):
        """The words that start a run, or go on with it."""
        return command(run, self.folder, self.ranks, self.program)

    def print_commands(self):
        """Print the command line of every run that is not done; returns the exit status."""
        for run in self.runs:
            if run.name not in self.done:
                print(shlex.join(self.command(run)))
        return 0

    def start(self, run):
        """A `RunProcess` that trains a run; None while a process of an earlier sweep is still at it."""
        if self.folder.is_locked(run):
            return None
        return RunProcess(
            run, self.command(run), environment(run, self.cores), self.folder.path / run.name / "output.txt"
        )

    def run(self):
        """Train what is not done; returns the exit status."""
        waiting = [run for run in self.runs if run.name not in self.done]
        print(
            f"{len(self.runs)} runs, {len(self.done)} of them done, {self.jobs} at once  ->  {self.folder.path}",
            flush=True,
        )
        board = SweepStatus(self.runs, differing(self.values), self.folder.standing, self.done)
        with StopSignals(not_ignored(os_features.signals("SIGINT", "SIGTERM", "SIGHUP"))) as signals:
            with SweepDisplay(board) as screen:
                run_all(
                    waiting,
                    self.jobs,
                    self.start,
                    lambda child: self.on_exit(child, screen, signals),
                    screen,
                    signals,
                )
            return self.end(board, signals)

    def on_exit(self, child, screen, signals):
        """A child has ended: of itself, by a fault, or because it was asked to."""
        if child.process.returncode == 0:
            try:
                screen.finished(child.run, self.folder.finish(child.run))
            except UserError as error:
                screen.failed(child.run, error)
        elif signals.received:
            screen.stopped(child.run)
        else:
            screen.failed(child.run, child.failure_reason())

    def end(self, board, signals):
        """The last lines; returns the exit status."""
        counts = board.counts()
        if counts["done"]:
            print(f"plot it: {shlex.join(['python', '-m', 'baselines_ppo.plot', str(self.folder.path)])}")
        if counts["done"] < len(self.runs):
            what = (
                "go on"
                if signals.received
                else f"{counts['failed']} failed, see output.txt in their folders; try them again"
            )
            print(f"{what} with: {shlex.join(['python', '-m', PROG, *self.again])}")
        sys.stdout.flush()
        return 128 + signals.received[0] if signals.received else 1 if counts["failed"] else 0


def with_config(path, values, ranks):
    """Values with those of a configuration file, if there is one, where nothing is typed; `baselines_ppo.config.config_files.load_overrides` reads it."""
    if path is None:
        return values
    found, _ = load_overrides(path, {name: typed[0] for name, typed in values.items()}, ranks)
    return {name: [value] for name, value in found.items() if name not in (*NOT_SWEEPABLE, *MACHINE_SETTINGS)} | values
