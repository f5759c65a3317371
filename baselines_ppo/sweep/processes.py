"""The runs of a sweep as child processes: start, stop, kill, the reason of a failure, and the queue of runs."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from baselines_ppo.cli.command_lines import to_argv
from baselines_ppo.sweep.directory import RunsDirectory
from baselines_ppo.sweep.display import SweepDisplay
from baselines_ppo.sweep.plan import SweepRun
from common.distributed.launcher import subprocess_env
from common.errors import UserError
from common.runtime.crash_stacks import signal_name
from common.runtime.stop_signals import StopSignals
from common.storage.failure_file import FAILURE_FILE_VARIABLE, read_failure_reason

PROGRAM = (sys.executable, "-m", "baselines_ppo")
POLL_INTERVAL = 0.1  # seconds between two checks of the children
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1


def launcher(ranks: int) -> list[str]:
    """Return the arguments before `python` for a number of ranks: the mpirun of this environment, or that on PATH.

    Raises:
        UserError: if there is none, and more than one rank.
    """
    if ranks == 1:
        return []
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which("mpirun", path=path)
    if found is None:
        raise UserError(
            f"--ranks {ranks} needs mpirun, which is neither in {Path(sys.executable).parent} nor on PATH; "
            "pip install mpich"
        )
    return [found, "-n", str(ranks)]


def run_argv(
    run: SweepRun, folder: RunsDirectory, ranks: int, program: Sequence[str] = PROGRAM, exact: bool = False
) -> list[str]:
    """Return the command line (argv) that starts a run, or resumes it if it has started.

    Args:
        run: the run.
        folder: the directory of the runs.
        ranks: of the run.
        program: run.py as arguments.
        exact: resume from a scheduled checkpoint only, with the result of an uninterrupted run.
    """
    resume = ["--resume", *(["exact"] if exact else []), *to_argv(run.limits)]
    arguments = resume if folder.is_started(run) else to_argv(run.explicit_with_cores)
    return [*launcher(ranks), *program, "--quiet", *arguments, "--run-dir", str(folder.path / run.name)]


def run_environment(run: SweepRun, cores: int) -> dict[str, str]:
    """Return the environment variables of a run with `cores` cores per rank; existing ones have precedence.

    TensorFlow uses several threads for convolutions only.
    """
    tensorflow_threads = cores if run.config.run.policy == "cnn" else 1
    threads = {"OMP_NUM_THREADS": str(cores), "TF_NUM_INTRAOP_THREADS": str(tensorflow_threads)}
    return threads | subprocess_env()


def set_parent_death_signal() -> None:
    """In a new child on Linux: have the kernel send SIGTERM when the sweep ends, even by kill -9."""
    assert LIBC is not None
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class RunProcess:
    """A running run, in its own process group: a terminal's Ctrl-C reaches the sweep alone, which forwards it.

    Args:
        run: the run.
        argv: its command line.
        environ: its environment variables.
        output: path of the file for its output.
    """

    def __init__(self, run: SweepRun, argv: Sequence[str], environ: Mapping[str, str], output: Path) -> None:
        self.run = run
        self.output = output
        self.failure_file = output.with_name("failure.json")
        output.parent.mkdir(parents=True, exist_ok=True)
        self.failure_file.unlink(missing_ok=True)
        with output.open("wb") as file:
            file.write(f"{shlex.join(argv)}\n".encode())
            file.flush()
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**environ, FAILURE_FILE_VARIABLE: str(self.failure_file.absolute())},
                process_group=0,
                preexec_fn=set_parent_death_signal if LIBC else None,
            )

    def stop(self) -> None:
        """Ask it to finish its iteration, write a checkpoint and end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and the processes that it started."""
        if self.process.poll() is None:
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
            self.process.wait()

    def failure_reason(self) -> str:
        """Return exit status and reason in one line: what the run recorded, or the last line of its output."""
        status = self.process.returncode
        reason = read_failure_reason(self.failure_file)
        if reason is None:
            output = self.output.read_text(encoding="utf-8", errors="replace")
            lines = [line for line in output.splitlines()[1:] if line.strip()]
            reason = lines[-1] if lines else "no output"
        ended = f"killed by {signal_name(-status)}" if status < 0 else f"status {status}"
        return f"{ended}: {reason.strip()}"


def record_exit(child: RunProcess, folder: RunsDirectory, display: SweepDisplay, stopping: bool) -> None:
    """Record that a child has ended: normally, by a failure, or because it was asked to.

    Args:
        child: its process.
        folder: the directory of the runs.
        display: shows what happens.
        stopping: whether all children have been asked to end.
    """
    if child.process.returncode == 0:
        try:
            display.finished(child.run, folder.mark_done(child.run))
        except UserError as error:
            display.failed(child.run, error)
    elif stopping:
        display.stopped(child.run)
    else:
        display.failed(child.run, child.failure_reason())


class RunQueue:
    """The runs that wait to be started: those of a sweep, in order. A search of settings has another queue."""

    def __init__(self, runs: Iterable[SweepRun]) -> None:
        self.waiting = deque(runs)

    def has_runs(self) -> bool:
        """Whether runs wait."""
        return bool(self.waiting)

    def take(self) -> SweepRun | None:
        """Remove and return the next run; None if none can be started now."""
        return self.waiting.popleft() if self.waiting else None

    def put_back(self, run: SweepRun) -> None:
        """Append a run that could not be started yet."""
        self.waiting.append(run)

    def watch(self, children: Sequence[RunProcess]) -> None:
        """Called many times per second with the running children, which it may kill."""


def run_all(
    queue: RunQueue,
    jobs: int,
    start: Callable[[SweepRun], RunProcess | None],
    on_exit: Callable[[RunProcess], None],
    display: SweepDisplay,
    signals: StopSignals,
) -> None:
    """Run all runs in order, `jobs` at the same time. A signal stops them, a second one kills them.

    Args:
        queue: the runs.
        jobs: maximum number of running runs.
        start: starts a run; returns None if it cannot start yet.
        on_exit: called with each process that has ended.
        display: shows what happens.
        signals: installed stop signals.
    """
    handled = 0
    children: list[RunProcess] = []
    try:
        while children or (queue.has_runs() and not signals.received):
            if not signals.received:
                start_pending(children, queue, jobs, start, display)
            for child in children if len(signals.received) > handled else ():
                child.kill() if handled else child.stop()
            if signals.received and not handled:
                display.stopping(len(children))
            handled = len(signals.received)
            queue.watch(children)
            for child in [child for child in children if child.process.poll() is not None]:
                children.remove(child)
                on_exit(child)
            display.refresh([child.run for child in children])
            time.sleep(POLL_INTERVAL)
    finally:
        for child in children:
            child.kill()


def start_pending(
    children: list[RunProcess],
    queue: RunQueue,
    jobs: int,
    start: Callable[[SweepRun], RunProcess | None],
    display: SweepDisplay,
) -> None:
    """Start waiting runs until there are `jobs` children. A run that cannot start yet goes to the end of the queue."""
    for _ in range(jobs - len(children)):
        run = queue.take()
        if run is None:
            return
        child = start(run)
        if child is None:
            queue.put_back(run)
            continue
        children.append(child)
        display.started(run)
