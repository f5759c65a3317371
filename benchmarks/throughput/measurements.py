"""Who is measured, and how: every measurement is one fresh process, and gives figures {"steps_per_second": ..., ...}."""

import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.paths import ROOT

POLL = 0.01  # seconds between looks for the first row of progress.csv


class Failed(Exception):
    """A measured process failed; the message has its last lines."""


def steady(history, skip):
    """Figures of a training once it is under way.

    Args:
        history: [(timesteps, seconds since training began)], one an update.
        skip: updates at the start that are left out: they compile, or warm up.

    Returns:
        `steps_per_second` of the others; `compile`, the seconds that the first `skip` took more than `skip` of the others.

    Raises:
        Failed: if there are no others.
    """
    if len(history) <= skip:
        raise Failed(f"only {len(history)} updates, of which {skip} are to be left out")
    (steps, seconds), (last_steps, last_seconds) = history[skip - 1], history[-1]
    an_update = (last_seconds - seconds) / (len(history) - skip)
    return {
        "steps_per_second": (last_steps - steps) / (last_seconds - seconds),
        "compile": max(seconds - skip * an_update, 0.0),
    }


class GivenUp(Exception):
    """A measured process took longer than it was given."""


def run_child(argv, seconds=None):
    """The JSON object that a Python process prints last.

    Raises:
        Failed: if it fails.
        GivenUp: if it takes longer than `seconds`.
    """
    try:
        done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=seconds, cwd=ROOT)
    except subprocess.TimeoutExpired as error:
        raise GivenUp(f"given up after {seconds:.0f} s") from error
    if done.returncode:
        raise Failed(_tail(argv, done.returncode, done.stderr))
    return json.loads(done.stdout.splitlines()[-1])


def _tail(argv, status, text):
    lines = "\n".join(text.strip().splitlines()[-12:])
    return f"{' '.join(str(word) for word in argv)} ended with status {status}:\n{lines}"


def environment_alone(env_id, processes, seconds):
    """Gaussian actions drawn beforehand, no learner: steps per second summed over `processes` that start together."""
    return run_child(
        [sys.executable, "-m", "benchmarks.throughput.bare_env", env_id, "--processes", processes, "--seconds", seconds]
    )


def peer(python, library, env_id, num_envs, threads, iterations, skip, seconds=None):
    """Figures of a peer's training (`other_libraries.py`), by the interpreter `python`; GivenUp after `seconds`."""
    argv = [
        python,
        "-m",
        "benchmarks.throughput.other_libraries",
        library,
        env_id,
        "--num-envs",
        num_envs,
        "--threads",
        threads,
        "--iterations",
        iterations,
    ]
    return steady(run_child(argv, seconds)["history"], skip)


def profile(env_id, preset):
    """{part: seconds an iteration} of one of our trainings (`iteration_profile.py`)."""
    return run_child([sys.executable, "-m", "benchmarks.throughput.iteration_profile", env_id, preset])


def ours(env_id, preset, ranks, iterations, steps, skip, num_envs=None, words=()):
    """Figures of the command line as a user types it, with everything on that is on by default.

    Args:
        env_id: a Gymnasium id.
        preset: a name of `baselines_ppo.config.presets`.
        ranks: 1 runs without mpirun.
        iterations: updates.
        steps: of an update, over all ranks.
        skip: updates left out of the steady state.
        num_envs: of a rank; the preset's if None.
        words: further arguments.

    Returns:
        as `steady`, and `first_update`: seconds from the command to the first row of `progress.csv`.

    Raises:
        Failed: if the command fails.
    """
    with tempfile.TemporaryDirectory(prefix="throughput-") as folder:
        run_dir, output = Path(folder) / "run", Path(folder) / "output.txt"
        launcher = [mpirun(), "-n", str(ranks)] if ranks > 1 else []
        argv = [
            *launcher,
            sys.executable,
            str(ROOT / "run.py"),
            "--env",
            env_id,
            "--preset",
            preset,
            "--num-timesteps",
            str(iterations * steps),
            "--run-dir",
            str(run_dir),
            *(["--num-envs", str(num_envs)] if num_envs else []),
            *words,
        ]
        began = time.perf_counter()
        with output.open("w") as stream:
            process = subprocess.Popen(argv, stdout=stream, stderr=subprocess.STDOUT)
            try:
                first_update = _wait_for_row(process, run_dir / "progress.csv", began)
                status = process.wait()
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
        if status or first_update is None:
            raise Failed(_tail(argv, status, output.read_text()))
        with (run_dir / "progress.csv").open() as file:
            history = [(float(row["TimestepsSoFar"]), float(row["TimeElapsed"])) for row in csv.DictReader(file)]
        return steady(history, skip) | {"first_update": first_update}


def _wait_for_row(process, path, began):
    """Seconds until `path` holds a header and a row; None if the process ends before."""
    while process.poll() is None:
        if path.exists() and path.read_text().count("\n") >= 2:
            return time.perf_counter() - began
        time.sleep(POLL)
    return None


def mpirun():
    """The mpirun beside this interpreter, which is the one that mpi4py was installed with; else the one on the path."""
    beside = Path(sys.executable).with_name("mpirun")
    return str(beside) if beside.exists() else shutil.which("mpirun") or "mpirun"


def missing_packages(python, modules):
    """Those of `modules` that the interpreter `python` does not have."""
    code = f"import importlib.util, json; print(json.dumps([one for one in {modules!r} if importlib.util.find_spec(one) is None]))"
    return run_child([python, "-c", code])


def versions(python, packages):
    """{package: installed version or None} of the interpreter `python`."""
    code = (
        "import importlib.metadata as m, json, platform\nfound = {'python': platform.python_version()}\n"
        f"for one in {packages!r}:\n try: found[one] = m.version(one)\n except m.PackageNotFoundError: found[one] = None\n"
        "print(json.dumps(found))"
    )
    return run_child([python, "-c", code])
