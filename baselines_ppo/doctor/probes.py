"""Checks that run a part of the installation in a child process, which may fail, crash or hang."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from baselines_ppo.doctor.finding import Finding
from common.distributed.launcher import subprocess_env

TIMEOUT = 120.0  # seconds of a child process; TensorFlow's import can take 30 on a slow disk
RANKS = 2
TENSORFLOW = """
import os
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf
tf.constant(0.0)
print(tf.__version__, len(tf.config.list_physical_devices("GPU")))
"""
MPI_VERSION = "from mpi4py import MPI; print(*MPI.Get_library_version().splitlines()[0].split())"
MPI_SIZE = "from mpi4py import MPI; print(MPI.COMM_WORLD.size)"
ENVIRONMENT = """
import sys
from common.envs.factory import make_env
from common.errors import UserError
try:
    env = make_env(sys.argv[1])
    env.reset(seed=0)
    env.step(env.action_space.sample())
except UserError as error:
    sys.exit(str(error).partition(": ")[2])
"""
# (id, what it stands for, whether it belongs to the core, what to do if it cannot be made)
ENVIRONMENTS = (
    ("CartPole-v1", "classic control", True, "run pip install 'gymnasium[classic-control]'"),
    ("Hopper-v4", "MuJoCo", True, "run pip install 'gymnasium[mujoco]'"),
    ("PongNoFrameskip-v4", "Atari", True, "run pip install ale-py opencv-python-headless"),
    ("LunarLander-v3", "Box2D", False, "for these tasks, run pip install -e '.[box2d]'"),
)
RENDERING = """
import os
from common.envs.rendering import PROBE, exits_cleanly, has_display
window, chosen = has_display(), os.environ.get("MUJOCO_GL")
names = [chosen] if chosen else ["glfw"] * window + ["egl", "osmesa"]
print(window, next((name for name in names if exits_cleanly(PROBE, MUJOCO_GL=name)), "none"))
"""
OPENGL_FIX = "run apt install libegl1 (or libosmesa6), or install the packages of your system that contain them"
MPI_FIX = (
    "mpi4py and mpirun must belong to the same MPI: run pip install --force-reinstall --no-cache-dir mpi4py mpich, "
    "and use the mpirun of this environment"
)


class ProbeError(Exception):
    """A child process failed; the message is the last line of its error output."""


def run_child(command: Sequence[str], timeout: float = TIMEOUT) -> str:
    """Return the standard output of a child process.

    Args:
        command: the program and its arguments.
        timeout: seconds after which it is killed.

    Raises:
        ProbeError: if it cannot start, fails, or does not end in time.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout, env=subprocess_env()
        )
    except subprocess.TimeoutExpired as error:
        raise ProbeError(f"no answer within {timeout:g} s") from error
    except OSError as error:
        raise ProbeError(error.strerror or str(error)) from error
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ProbeError(lines[-1].strip() if lines else f"ended with status {done.returncode}")
    return done.stdout.strip()


def check_tensorflow() -> Iterator[Finding]:
    """Import TensorFlow, and compare the GPUs that it finds with those of the machine."""
    started = time.monotonic()
    try:
        version, gpus = run_child([sys.executable, "-c", TENSORFLOW]).splitlines()[-1].split()
    except (ProbeError, ValueError, IndexError) as error:
        fix = "run pip install --force-reinstall 'tensorflow>=2.21,<2.22'"
        yield Finding("TensorFlow's import", f"fails: {error}", fix)
        return
    yield Finding("TensorFlow's import", f"{version}, {time.monotonic() - started:.1f} s")
    machine_has_gpu = shutil.which("nvidia-smi") is not None
    unused = int(gpus) == 0 and machine_has_gpu
    value = f"{gpus}" if int(gpus) else "none, and none is needed"
    if unused:
        value = "nvidia-smi is here, but TensorFlow finds no GPU"
    fix = "for image policies, run pip install 'tensorflow[and-cuda]'" if unused else ""
    yield Finding("GPU", value, fix, required=False)


def check_mpi() -> Iterator[Finding]:
    """Start two ranks, and compare the number that MPI reports."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    mpirun = shutil.which("mpirun", path=path)
    try:
        library = run_child([sys.executable, "-c", MPI_VERSION]).splitlines()[-1]
    except (ProbeError, IndexError) as error:
        yield Finding("MPI library", f"fails: {error}", MPI_FIX)
        return
    yield Finding("MPI library", library)
    if mpirun is None:
        yield Finding("mpirun", "not found", "for several ranks, run pip install mpich", required=False)
        return
    try:
        printed = run_child([mpirun, "-n", str(RANKS), sys.executable, "-c", MPI_SIZE])
    except ProbeError as error:
        yield Finding("mpirun", f"{mpirun} -n {RANKS} fails: {error}", MPI_FIX)
        return
    works = "".join(printed.split()) == str(RANKS) * RANKS  # mpirun may mix the lines of the ranks
    value = f"{mpirun} -n {RANKS} starts {RANKS} ranks" if works else f"{mpirun} -n {RANKS} starts separate processes"
    yield Finding("mpirun", value, "" if works else MPI_FIX)


def check_environments() -> Iterator[Finding]:
    """Make one environment of each kind, and make one step in it."""
    for env_id, kind, required, fix in ENVIRONMENTS:
        try:
            run_child([sys.executable, "-c", ENVIRONMENT, env_id])
        except ProbeError as error:
            yield Finding(kind, f"{env_id} cannot be made: {error}", fix, required)
        else:
            yield Finding(kind, f"{env_id} can be made")


def check_rendering() -> Iterator[Finding]:
    """Find out whether a window can be opened, and with what MuJoCo can draw videos."""
    try:
        window, backend = run_child([sys.executable, "-c", RENDERING]).splitlines()[-1].split()
    except (ProbeError, IndexError, ValueError) as error:
        yield Finding("videos of MuJoCo", f"cannot be drawn: {error}", OPENGL_FIX, required=False)
        return
    yield Finding("window", "can be opened" if window == "True" else "no display answers; play writes a video instead")
    if backend != "none":
        yield Finding("videos of MuJoCo", f"can be drawn, with {backend}")
        return
    chosen = os.environ.get("MUJOCO_GL")
    fix = f"MUJOCO_GL is {chosen}: unset it" if chosen else OPENGL_FIX
    yield Finding("videos of MuJoCo", "cannot be drawn", fix, required=False)
