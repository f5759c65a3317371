"""The measurements that compare.py takes. Each one is a fresh process and returns metrics {"steps_per_second": ..., ...}."""

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.paths import ROOT
from common.runtime.cpu import cpu_affinity

POLL_INTERVAL = 0.01  # seconds between checks for the first row of progress.csv
Metrics = dict[str, Any]


class MeasurementError(Exception):
    """A measured process failed; the message ends with its error output."""


class MeasurementTimeout(Exception):
    """A measured process exceeded its time limit."""


def steady_state(history: Sequence[tuple[float, float]], skip: int) -> Metrics:
    """Metrics of a training after its start-up.

    Args:
        history: [(timesteps, seconds since training began)], one per update.
        skip: number of first updates to exclude, which compile or warm up.

    Returns:
        `steps_per_second` of the remaining updates; `compile`, the seconds by which the first `skip` updates exceed `skip`
        average ones.

    Raises:
        MeasurementError: if no updates remain.
    """
    if len(history) <= skip:
        raise MeasurementError(f"only {len(history)} updates, of which {skip} are excluded")
    (steps, seconds), (last_steps, last_seconds) = history[skip - 1], history[-1]
    seconds_per_update = (last_seconds - seconds) / (len(history) - skip)
    return {
        "steps_per_second": (last_steps - steps) / (last_seconds - seconds),
        "compile": max(seconds - skip * seconds_per_update, 0.0),
    }


def run_child(argv: Sequence[Any], seconds: float | None = None) -> Any:
    """The JSON value in the last line that a Python process prints.

    Raises:
        MeasurementError: if it fails.
        MeasurementTimeout: if it takes longer than `seconds`.
    """
    command = [str(argument) for argument in argv]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, cwd=ROOT)
    except subprocess.TimeoutExpired as error:
        raise MeasurementTimeout(f"stopped after {seconds:.0f} s") from error
    if done.returncode:
        raise MeasurementError(_failure(command, done.returncode, done.stderr))
    return json.loads(done.stdout.splitlines()[-1])


def _failure(command: Sequence[str], status: int, output: str) -> str:
    lines = "\n".join(output.strip().splitlines()[-12:])
    return f"{' '.join(command)} ended with status {status}:\n{lines}"


def measure_bare_env(env_id: str, processes: int, seconds: float, physics: bool = False) -> Metrics:
    """Steps per second without learning, summed over `processes` that start at the same time; with `physics` of `mj_step` alone."""
    argv = [sys.executable, "-m", "benchmarks.throughput.bare_env", env_id, "--processes", processes]
    return run_child([*argv, "--seconds", seconds, *(["--physics"] if physics else [])])


def measure_library(
    python: str,
    library: str,
    env_id: str,
    num_envs: int,
    threads: int,
    iterations: int,
    skip: int,
    seconds: float | None = None,
) -> Metrics:
    """Metrics of a training by another library (other_libraries.py).

    Args:
        python: interpreter that has the library.
        library: a name that other_libraries.py knows.
        env_id: Gymnasium id.
        num_envs: environments.
        threads: of PyTorch or JAX.
        iterations: updates.
        skip: updates excluded from the steady state.
        seconds: time limit.

    Raises:
        MeasurementError: if it fails.
        MeasurementTimeout: if it takes longer than `seconds`.
    """
    argv = [python, "-m", "benchmarks.throughput.other_libraries", library, env_id, "--num-envs", num_envs]
    argv += ["--threads", threads, "--iterations", iterations]
    return steady_state(run_child(argv, seconds)["history"], skip)


def profile_iteration(env_id: str, preset: str) -> dict[str, float]:
    """{part: seconds per iteration} of a training by this package (iteration_profile.py)."""
    return run_child([sys.executable, "-m", "benchmarks.throughput.iteration_profile", env_id, preset])


def measure_training(
    env_id: str,
    preset: str,
    ranks: int,
    iterations: int,
    steps: int,
    skip: int,
    num_envs: int | None = None,
    arguments: Sequence[str] = (),
    cores: int | None = None,
) -> Metrics:
    """Metrics of a training by the command line, with all default outputs.

    Args:
        env_id: Gymnasium id.
        preset: name in `baselines_ppo.config.presets`.
        ranks: MPI processes; 1 runs without mpirun.
        iterations: updates.
        steps: per update, over all ranks.
        skip: updates excluded from the steady state.
        num_envs: per rank; None: that of the preset.
        arguments: further arguments.
        cores: of this process's cores, how many the training may use; None: all.

    Returns:
        the metrics of `steady_state`, and `first_update`: seconds from the command to the first row of `progress.csv`.

    Raises:
        MeasurementError: if the command fails.
    """
    with tempfile.TemporaryDirectory(prefix="throughput-") as directory:
        run_dir, output = Path(directory) / "run", Path(directory) / "output.txt"
        command = [mpirun(), "-n", str(ranks)] if ranks > 1 else []
        command += [sys.executable, str(ROOT / "run.py"), "--env", env_id, "--preset", preset]
        command += ["--num-timesteps", str(iterations * steps), "--run-dir", str(run_dir)]
        command += [*(["--num-envs", str(num_envs)] if num_envs else []), *arguments]
        began = time.perf_counter()
        with output.open("w") as stream:
            process = subprocess.Popen(
                command, stdout=stream, stderr=subprocess.STDOUT, preexec_fn=lambda: use_cores(cores)
            )
            try:
                first_update = _wait_for_row(process, run_dir / "progress.csv", began)
                status = process.wait()
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
        if status or first_update is None:
            raise MeasurementError(_failure(command, status, output.read_text()))
        with (run_dir / "progress.csv").open() as file:
            history = [(float(row["TimestepsSoFar"]), float(row["TimeElapsed"])) for row in csv.DictReader(file)]
        return steady_state(history, skip) | {"first_update": first_update}


def use_cores(cores: int | None) -> None:
    """Restrict this process to its first `cores` cores, or to all for None (Linux)."""
    os.sched_setaffinity(0, cpu_affinity()[:cores])


def _wait_for_row(process: subprocess.Popen, path: Path, began: float) -> float | None:
    """Seconds until `path` has a header and a row; None if the process ends before."""
    while process.poll() is None:
        if path.exists() and path.read_text().count("\n") >= 2:
            return time.perf_counter() - began
        time.sleep(POLL_INTERVAL)
    return None


def mpirun() -> str:
    """The mpirun next to this interpreter, which belongs to its mpi4py; otherwise the one on the PATH."""
    adjacent = Path(sys.executable).with_name("mpirun")
    return str(adjacent) if adjacent.exists() else shutil.which("mpirun") or "mpirun"


def missing_packages(python: str, modules: Sequence[str]) -> list[str]:
    """The modules that the interpreter `python` does not have."""
    code = f"import importlib.util, json; print(json.dumps([m for m in {modules!r} if importlib.util.find_spec(m) is None]))"
    return run_child([python, "-c", code])


def installed_versions(python: str, packages: Sequence[str]) -> dict[str, str | None]:
    """{package: installed version or None} of the interpreter `python`."""
    code = (
        "import importlib.metadata as m, json, platform\nfound = {'python': platform.python_version()}\n"
        f"for one in {packages!r}:\n try: found[one] = m.version(one)\n except m.PackageNotFoundError: found[one] = None\n"
        "print(json.dumps(found))"
    )
    return run_child([python, "-c", code])
