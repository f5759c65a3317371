"""Running the command line and jobs of several ranks as a user would, bounded in time."""

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
RUN_UNCOMPILED = str(ROOT / "tests" / "support" / "run_uncompiled.py")


def mpirun():
    """The mpirun beside this python, or the one on PATH."""
    beside = Path(sys.executable).with_name("mpirun")
    return str(beside) if beside.exists() else shutil.which("mpirun")


def command(ranks, *words):
    """The words of a python command, under mpirun if there is more than one rank."""
    launcher = [mpirun(), "-n", str(ranks)] if ranks > 1 else []
    return [*launcher, sys.executable, *map(str, words)]


def run(ranks, *words, timeout=240, **kwargs):
    """A finished `subprocess.CompletedProcess` of `python WORDS` on `ranks` ranks."""
    return subprocess.run(
        command(ranks, *words), capture_output=True, text=True, timeout=timeout, cwd=kwargs.pop("cwd", ROOT), **kwargs
    )


def main_here(*words):
    """The exit status of the command line in this process, whose environment variables stay what they are."""
    from baselines_ppo.__main__ import main

    with mock.patch.dict(os.environ):
        return main([str(word) for word in words])


def processes_naming(text):
    """Process ids whose command line holds `text`, this process apart."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if text.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue  # it has ended meanwhile
    return found


def kill_when(ranks, words, run_dir, condition, timeout=240):
    """Start a run and kill -9 all its processes as soon as `condition()` holds."""
    process = subprocess.Popen(command(ranks, *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
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
    """The environment in which a child finds the environments of tests/support."""
    return os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "tests" / "support"), str(ROOT)))}


def wait_gone(run_dir, seconds=10):
    """Returns when no process names the run's folder any more; AssertionError if one still does."""
    deadline = time.monotonic() + seconds
    while left := processes_naming(str(run_dir)):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
