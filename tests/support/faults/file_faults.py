"""Runs the command line with injected file faults: the n-th matching operation is refused, or the process is killed there.

`run` forks the process from a server that has imported TensorFlow but not started it, which saves a second compared with
a new process. As a script, under mpirun: `python file_faults.py JSON ARGV`, where JSON is [rank, fault].
"""

import errno
import json
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).parents[3]
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
EVENTS = {"os.rename": "rename", "os.remove": "remove", "os.truncate": "truncate", "os.mkdir": "mkdir"}
PRELOAD = [
    "tensorflow",
    "gymnasium",
    "tensorboard.plugins.hparams.summary_v2",
    "baselines_ppo.train.learn_run",
    "baselines_ppo.experiment.callbacks",
    "baselines_ppo.pposgd_simple",
    "baselines_ppo.mlp_policy",
    "common.envs",
]


def path_of(file):
    """Return the path of a file given by its path or its descriptor."""
    return os.readlink(f"/proc/self/fd/{file}") if isinstance(file, int) else os.fspath(file)


def inject(operation, pattern, count, action):
    """Make one file operation of this process fail: the `count`-th one whose path matches `pattern`.

    Args:
        operation: open (to write), write, fsync, rename (the old name), remove, truncate or mkdir.
        pattern: a regular expression.
        action: "kill". "half": write half of the data, then kill (write and fsync). The name of an errno: refuse the
            operation with it. "all files": use up all file descriptors, then continue. Otherwise a shell command to
            run before the operation.
    """
    remaining = count

    def reached(name, file):
        nonlocal remaining
        if name != operation or remaining == 0 or not re.search(pattern, str(path_of(file))):
            return False
        remaining -= 1
        return remaining == 0

    def act():
        if action in ("kill", "half"):
            os.kill(os.getpid(), signal.SIGKILL)
        if hasattr(errno, action):
            raise OSError(getattr(errno, action), os.strerror(getattr(errno, action)))
        if action == "all files":
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            try:
                while True:
                    os.dup(0)
            except OSError:
                return
        subprocess.run(action, shell=True, check=True)

    def hook(event, args):
        name = EVENTS.get(event)
        if event == "open" and args[2] & WRITES:
            name = "open"
        if name and reached(name, args[0]):
            act()

    def write(file, data, original=os.write):
        if reached("write", file):
            if action == "half":
                original(file, data[: len(data) // 2])
            act()
        return original(file, data)

    def fsync(file, original=os.fsync):
        if reached("fsync", file):
            if action == "half":
                os.ftruncate(file, os.fstat(file).st_size // 2)
            act()
        return original(file)

    sys.addaudithook(hook)
    os.write, os.fsync = write, fsync


def child(argv, fault, prepare, directory):
    """Run the command line in a forked process."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # most of a short run is compiling
    if prepare is not None:
        prepare()
    if fault is not None:
        inject(*fault)
    from baselines_ppo.__main__ import main

    sys.exit(main(argv))


def run(argv, directory, fault=None, prepare=None, kill_after=None):
    """Run the command line in a child process.

    Args:
        argv: of the command line.
        directory: for the files of its stdout and stderr.
        fault: arguments of `inject`, or None.
        prepare: function of a module, called first.
        kill_after: seconds until it is killed; None waits for its end.

    Returns:
        `returncode` (negative: the signal that ended it), `stdout`, `stderr`.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    process = context.Process(target=child, args=([str(word) for word in argv], fault, prepare, directory))
    process.start()
    if kill_after is not None:
        time.sleep(kill_after)
        process.kill()
    process.join(120)
    if process.is_alive():
        process.kill()
        raise AssertionError(
            f"still running after 120 s: {(directory / 'stdout').read_text()}{(directory / 'stderr').read_text()}"
        )
    return SimpleNamespace(
        returncode=process.exitcode, **{name: (directory / name).read_text() for name in ("stdout", "stderr")}
    )


if __name__ == "__main__":
    fault_rank, fault = json.loads(sys.argv[1])
    if os.environ.get("PMI_RANK", "0") == str(fault_rank):
        inject(*fault)
    from baselines_ppo.__main__ import main

    sys.exit(main(sys.argv[2:]))
