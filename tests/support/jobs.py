"""Runs the command line and MPI jobs in child processes, with time limits."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).parents[2]
RUN = str(ROOT / "run.py")
SUPPORT = os.pathsep.join(
    str(ROOT / "tests" / "support" / folder) for folder in ("", "environments", "faults", "numerics")
)
RUN_UNCOMPILED = str(ROOT / "tests" / "support" / "run_uncompiled.py")


def mpirun():
    """Return the mpirun in the directory of this Python, or the one on PATH."""
    own = Path(sys.executable).with_name("mpirun")
    return str(own) if own.exists() else shutil.which("mpirun")


def command(ranks, *argv):
    """Return the argv of a Python command, under mpirun if there is more than one rank."""
    launcher = [mpirun(), "-n", str(ranks)] if ranks > 1 else []
    return [*launcher, sys.executable, *map(str, argv)]


def run(ranks, *argv, timeout=240, **kwargs):
    """Run `python ARGV` on `ranks` ranks and return the `subprocess.CompletedProcess`."""
    return subprocess.run(
        command(ranks, *argv), capture_output=True, text=True, timeout=timeout, cwd=kwargs.pop("cwd", ROOT), **kwargs
    )


def results_of_ranks(tmp_path_factory, worker_id, ranks, script, *argv):
    """Run `script DIRECTORY ARGV` once for all test processes; return the JSON object that rank 0 prints after RESULTS."""
    root = tmp_path_factory.getbasetemp()
    root = root if worker_id == "master" else root.parent
    with open(root / f"{script.stem}{ranks}.json", "a+") as found:
        fcntl.flock(found, fcntl.LOCK_EX)
        found.seek(0)
        if not (text := found.read()):
            finished = run(ranks, script, tmp_path_factory.mktemp("ranks"), *argv)
            # all of it: the stacks of a rank that was killed by a signal are long
            assert finished.returncode == 0, finished.stderr
            line = next(line for line in finished.stdout.splitlines() if line.startswith("RESULTS "))
            text = line.removeprefix("RESULTS ")
            found.write(text)
    return json.loads(text)


def main_here(*argv):
    """Run the command line in this process, restore the environment variables and return the exit status."""
    from baselines_ppo.__main__ import main

    with mock.patch.dict(os.environ):
        return main([str(word) for word in argv])


def processes_naming(text):
    """Return the ids of other processes whose command line contains `text`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if text.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue  # it has ended
    return found


def kill_when(ranks, argv, run_dir, condition, timeout=240):
    """Start a run and kill -9 all its processes as soon as `condition()` is true."""
    process = subprocess.Popen(command(ranks, *argv), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    deadline = time.monotonic() + timeout
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the run ended ({process.poll()}) before it could be killed")
        time.sleep(0.002)
    while pids := processes_naming(str(run_dir)):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    process.wait(timeout=30)


def support_path():
    """Return environment variables with which a child can import from tests/support."""
    return os.environ | {"PYTHONPATH": os.pathsep.join((SUPPORT, str(ROOT)))}


def wait_gone(run_dir, seconds=10):
    """Wait until no process has the run directory in its command line; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while left := processes_naming(str(run_dir)):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
