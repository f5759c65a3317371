"""Runs of the command line whose own file operations go wrong: the n-th that matches is refused, or the process dies there, at once or half way.

`run` forks them from a server that has imported TensorFlow and not started it, so that one costs a second less than a process of its own. As a
script, under mpirun: `python file_faults.py JSON WORDS`, JSON being [rank, fault].
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

ROOT = Path(__file__).parents[2]
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
EVENTS = {"os.rename": "rename", "os.remove": "remove", "os.truncate": "truncate", "os.mkdir": "mkdir"}
PRELOAD = [
    "tensorflow",
    "gymnasium",
    "tensorboard.plugins.hparams.summary_v2",
    "baselines_ppo.train.runner",
    "baselines_ppo.experiment.callbacks",
    "baselines_ppo.pposgd_simple",
    "baselines_ppo.mlp_policy",
    "common.envs",
]


def path_of(file):
    """The path of a descriptor, or of what has one."""
    return os.readlink(f"/proc/self/fd/{file}") if isinstance(file, int) else os.fspath(file)


def inject(operation, pattern, count, action):
    """Let the `count`-th operation of this process go wrong whose path has the regular expression `pattern` in it.

    Args:
        operation: open (to write), write, fsync, rename (the old name), remove, truncate or mkdir.
        action: "kill"; "half": leave half of the data, then kill (write and fsync); the name of an errno, with which it is refused; "all files": open
            files until no more can be, and go on; other words: a command, run before it goes on.
    """
    left = count

    def reached(name, file):
        nonlocal left
        if name != operation or left == 0 or not re.search(pattern, str(path_of(file))):
            return False
        left -= 1
        return left == 0

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

    def write(file, data, whole=os.write):
        if reached("write", file):
            if action == "half":
                whole(file, data[: len(data) // 2])
            act()
        return whole(file, data)

    def fsync(file, whole=os.fsync):
        if reached("fsync", file):
            if action == "half":
                os.ftruncate(file, os.fstat(file).st_size // 2)
            act()
        return whole(file)

    sys.addaudithook(hook)
    os.write, os.fsync = write, fsync


def child(words, fault, prepare, folder):
    """What a forked process does."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # compiling is most of a short run
    if prepare is not None:
        prepare()
    if fault is not None:
        inject(*fault)
    from baselines_ppo.__main__ import main

    sys.exit(main(words))


def run(words, folder, fault=None, prepare=None, kill_after=None):
    """Run the command line in a process of its own.

    Args:
        words: of the command line.
        folder: for what it says.
        fault: arguments of `inject`, or None.
        prepare: function of a module, called first.
        kill_after: seconds until it is killed; None: it is waited for.

    Returns:
        `returncode` (negative: the signal that ended it), `stdout`, `stderr`.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    process = context.Process(target=child, args=([str(word) for word in words], fault, prepare, folder))
    process.start()
    if kill_after is not None:
        time.sleep(kill_after)
        process.kill()
    process.join(120)
    if process.is_alive():
        process.kill()
        raise AssertionError(
            f"still running after 120 s: {(folder / 'stdout').read_text()}{(folder / 'stderr').read_text()}"
        )
    return SimpleNamespace(
        returncode=process.exitcode, **{name: (folder / name).read_text() for name in ("stdout", "stderr")}
    )


if __name__ == "__main__":
    fault_rank, fault = json.loads(sys.argv[1])
    if os.environ.get("PMI_RANK", "0") == str(fault_rank):
        inject(*fault)
    from baselines_ppo.__main__ import main

    sys.exit(main(sys.argv[2:]))
