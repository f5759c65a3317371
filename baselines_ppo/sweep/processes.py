"""The runs of a sweep as child processes: how one is started, asked to stop, killed, and what became of it; and the queue of them."""

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from baselines_ppo.cli.command_lines import to_argv
from common.distributed.launcher import subprocess_env
from common.errors import UserError
from common.runtime.crash_stacks import signal_name
from common.storage.failure_file import FAILURE_FILE_VARIABLE, read_failure_reason

PROGRAM = (sys.executable, "-m", "baselines_ppo")
PAUSE = 0.1  # seconds between looks at the children
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1


def launcher(ranks):
    """The words before `python` for a number of ranks: the mpirun beside this Python, or the one on PATH.

    Raises:
        UserError: if there is none, and more than one rank.
    """
    if ranks == 1:
        return []
    found = shutil.which("mpirun", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if found is None:
        raise UserError(
            f"--ranks {ranks} needs mpirun, and there is none beside {sys.executable} or on PATH; pip install mpich"
        )
    return [found, "-n", str(ranks)]


def command(run, folder, ranks, program=PROGRAM):
    """The words that start a run, or go on with it.

    Args:
        folder: the `SweepFolder`.
        program: the words of run.py's command line.
    """
    words = ["--resume", *to_argv(run.limits)] if folder.is_started(run) else to_argv(run.typed_with_cores)
    return [*launcher(ranks), *program, "--quiet", *words, "--run-dir", str(folder.path / run.name)]


def environment(run, cores):
    """The environment of a run that has `cores` a rank; what is set already stays. TensorFlow gains from threads where it has convolutions only."""
    threads = {
        "OMP_NUM_THREADS": str(cores),
        "TF_NUM_INTRAOP_THREADS": str(cores if run.config.run.policy == "cnn" else 1),
    }
    return threads | subprocess_env()


def set_parent_death_signal():
    """In a new child, on Linux: have the kernel send it SIGTERM when the sweep is gone, also by kill -9."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class RunProcess:
    """A run under way, in a process group of its own: a terminal's Ctrl-C reaches the sweep alone, which passes it on.

    Args:
        run: the `Run`.
        words: its command.
        environ: its environment.
        output: path of the file for its console output.
    """

    def __init__(self, run, words, environ, output):
        self.run, self.output, self.began = run, output, time.monotonic()
        self.failure_file = output.with_name("failure.json")
        output.parent.mkdir(parents=True, exist_ok=True)
        self.failure_file.unlink(missing_ok=True)
        with output.open("wb") as file:
            file.write(f"{shlex.join(words)}\n".encode())
            file.flush()
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environ | {FAILURE_FILE_VARIABLE: str(self.failure_file.absolute())},
                process_group=0,
                preexec_fn=set_parent_death_signal if LIBC else None,
            )

    def stop(self):
        """Ask it to finish its iteration, write a checkpoint and end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def kill(self):
        """End it and all that it has started, now."""
        if self.process.poll() is None:
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
            self.process.wait()

    def failure_reason(self):
        """Return exit status and reason in one line: what the run recorded, or the last line of its output."""
        status = self.process.returncode
        reason = read_failure_reason(self.failure_file)
        if reason is None:
            output = self.output.read_text(encoding="utf-8", errors="replace")
            lines = [line for line in output.splitlines()[1:] if line.strip()]
            reason = lines[-1] if lines else "no output"
        ended = f"killed by {signal_name(-status)}" if status < 0 else f"status {status}"
        return f"{ended}: {reason.strip()}"


def run_all(runs, jobs, start, ended, screen, signals):
    """Run all, in order, `jobs` at once, until they have ended or a signal ends them: the first asks them to stop, the second kills.

    Args:
        start: function run -> `RunProcess`, or None if the run cannot start yet.
        ended: function of a `RunProcess` that has ended.
        screen: is told by `started(run)` and `stopping(number of children)`, and by `look(running runs)` all the time.
        signals: an open `StopSignals`.
    """
    waiting, children, told = deque(runs), [], 0
    try:
        while children or (waiting and not signals.received):
            if not signals.received:
                fill(children, waiting, jobs, start, screen)
            for child in children if len(signals.received) > told else ():
                child.kill() if told else child.stop()
            if signals.received and not told:
                screen.stopping(len(children))
            told = len(signals.received)
            for child in [child for child in children if child.process.poll() is not None]:
                children.remove(child)
                ended(child)
            screen.look([child.run for child in children])
            time.sleep(PAUSE)
    finally:
        for child in children:
            child.kill()


def fill(children, waiting, jobs, start, screen):
    """Start runs that wait until there are `jobs` children. One that cannot start yet goes to the end of the queue. Arguments as in `run_all`."""
    for _ in range(len(waiting)):
        if len(children) == jobs:
            return
        run = waiting.popleft()
        child = start(run)
        if child is None:
            waiting.append(run)
            continue
        children.append(child)
        screen.started(run)
