"""Queue of the long benchmarks: trains jobs in order, several at once, and keeps finished ones as JSON lines.

The queue can be killed at any moment and restarted. Finished trainings are not repeated. An unfinished one resumes exactly from its
last scheduled checkpoint, or restarts if the code has changed since it began.
"""

import contextlib
import csv
import fcntl
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import IO

from baselines_ppo.sweep.processes import launcher
from benchmarks.paths import ROOT
from benchmarks.returns.result_files import KERNELS, Line, ResultFile, TrainingJob

LAST_EPISODES = 100  # training episodes of a score
CURVE_POINTS = 100
MAX_NAME = 200  # characters of a directory name; file systems allow 255 bytes
EVALUATION_SEED = 10_000  # added to the seed of a training


def train(job: TrainingJob, work_dir: Path, exclusive: bool = True) -> Line:
    """Run one training to its end and return its JSON line.

    Args:
        job: the training.
        work_dir: parent of the run directory, which is removed afterwards.
        exclusive: no other training runs at the same time, so the environments may use all cores.

    Raises:
        RuntimeError: if the command fails; the message ends with its error output.
    """
    name, commit = directory_name(job), tree_commit()
    run_dir, commit_file = work_dir / name, work_dir / f"{name}.commit"
    with contextlib.suppress(FileNotFoundError), (run_dir / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a training may outlive a killed queue: wait until it ends
    started_at = commit_file.read_text() if commit_file.exists() else None
    has_checkpoint = any(run_dir.glob("checkpoints/ckpt-????????.safetensors"))
    if has_checkpoint and started_at == commit and not commit.endswith("+"):
        arguments = ["--run-dir", str(run_dir), "--resume", "exact"]
    else:
        shutil.rmtree(run_dir, ignore_errors=True)
        commit_file.write_text(commit)
        arguments = _start_arguments(job, run_dir, exclusive)
    command = [*launcher(job.ranks), sys.executable, str(ROOT / "run.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(job))
    if done.returncode:
        raise RuntimeError(f"{job}: ended with status {done.returncode}: {' '.join(done.stderr.split())[-400:]}")
    line = result_line(job, run_dir) | {"git_commit": commit, "kernels": job.kernels}
    if job.episodes:
        line |= evaluate_final_policy(run_dir, job)
    shutil.rmtree(run_dir)
    commit_file.unlink()
    return line


def environment(job: TrainingJob) -> dict[str, str]:
    """The environment variables of a job's processes: its kernels', and one thread for each process otherwise.

    The variables of other kernels are removed.
    """
    changed = {name for kernels in KERNELS.values() for name in kernels.variables}
    others = {name: value for name, value in os.environ.items() if name not in changed}
    return others | {"TF_NUM_INTRAOP_THREADS": "1"} | KERNELS[job.kernels].variables


def _start_arguments(job: TrainingJob, run_dir: Path, exclusive: bool) -> list[str]:
    options = {"--env": job.env, "--seed": job.seed, "--num-timesteps": job.steps, "--run-dir": run_dir}
    arguments = [str(part) for option in options.items() for part in option]
    threads = [] if exclusive else ["--env-threads", "1"]
    return [*arguments, "--report", "false", *threads, *map(str, job.arguments)]


def directory_name(job: TrainingJob) -> str:
    """A readable, unique name for the run directory of a job, short enough for any file system."""
    name = "-".join("".join(c if c.isalnum() or c == "." else "_" for c in str(part)) for part in job.key)
    return name if len(name) < MAX_NAME else f"{name[:150]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def tree_commit() -> str:
    """The commit of this clone; followed by "+" if files other than results and references have uncommitted changes."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True).stdout.strip()

    excluded = ":!benchmarks/results", ":!tests/reference"
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", *excluded)
    return git("rev-parse", "HEAD") + ("+" if changed else "")


def evaluate_final_policy(run_dir: Path, job: TrainingJob) -> dict[str, list[float]]:
    """{'deterministic': returns, 'stochastic': returns} of the final policy, on environments with fresh seeds."""
    command = [sys.executable, "-m", "benchmarks.returns.evaluate_policy", str(run_dir.absolute())]
    command += ["--episodes", str(job.episodes), "--seed", str(EVALUATION_SEED + job.seed)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment(job))
    if done.returncode:
        errors = " ".join(done.stderr.split())[-400:]
        raise RuntimeError(f"{job}: its evaluation ended with status {done.returncode}: {errors}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {mode: [round(ret, 3) for ret in returns] for mode, returns in found.items()}


def result_line(job: TrainingJob, run_dir: Path) -> Line:
    """The JSON line of a finished run: score, learning curve, settings, versions and platform."""
    config = json.loads((run_dir / "config.json").read_text())
    with (run_dir / "progress.csv").open() as file:
        rows = list(csv.DictReader(file))
    returns = None  # the order of episodes is known if a single environment wrote them
    if config["settings"]["num_envs"] * config["ranks"] == 1:
        files = sorted(run_dir.glob("*.monitor.csv"))
        returns = [float(row.split(",")[0]) for path in files for row in path.read_text().splitlines()[2:]]
    curve_rows = rows[:: max(1, len(rows) // CURVE_POINTS)]
    return {
        "benchmark": job.benchmark,
        "setting": job.setting,
        "env": job.env,
        "seed": job.seed,
        "steps": job.steps,
        "score": statistics.fmean(returns[-LAST_EPISODES:]) if returns else float(rows[-1]["EpRewMean"]),
        "curve": [
            [int(row["TimestepsSoFar"]), float(row["EpRewMean"])]
            for row in curve_rows
            if row["EpRewMean"] not in ("", "nan")
        ],
        "episodes": int(rows[-1]["EpisodesSoFar"]),
        "length": float(rows[-1]["EpLenMean"]),
        "seconds": float(rows[-1]["TimeElapsed"]),
        "settings": config["settings"] | {"run_dir": None},
        "versions": config["versions"],
        "platform": config["platform"],
    }


def run_queue(jobs: Sequence[TrainingJob], workers: int, work_dir: Path = ROOT / "runs" / "queue") -> int:
    """Run all jobs that have no result yet, in order, `workers` at once; returns the number of failures."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    work_dir.mkdir(parents=True, exist_ok=True)
    columns = "{task.description}", BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn()
    with (work_dir / ".lock").open("w") as lock, Progress(*columns, disable=not sys.stdout.isatty()) as progress:
        _acquire(lock, work_dir)
        # read the results only now: the queue that held the lock may have finished some jobs
        results = {job.benchmark: ResultFile(job.benchmark) for job in jobs}
        pending = [job for job in jobs if job not in results[job.benchmark]]
        finished = len(jobs) - len(pending)
        bar = progress.add_task("trainings", total=len(jobs), completed=finished)
        print(f"{len(jobs)} trainings, {finished} already finished, {workers} at once", flush=True)
        failed, steps_done, began = 0, 0, time.monotonic()
        with ThreadPoolExecutor(workers) as pool:
            futures = {pool.submit(train, job, work_dir, workers == 1): job for job in pending}
            for number, future in enumerate(as_completed(futures), finished + 1):
                job = futures[future]
                progress.advance(bar)
                try:
                    line = future.result()
                except Exception as error:  # the other trainings continue
                    failed += 1
                    reason = error if isinstance(error, RuntimeError) else repr(error)
                    print(f"[{number}/{len(jobs)}] FAILED: {reason}", flush=True)
                    continue
                results[job.benchmark].add(line)
                steps_done += job.steps
                seconds_left = _remaining_steps(futures) * (time.monotonic() - began) / steps_done
                print(
                    f"[{number}/{len(jobs)}] {job}: {line['score']:.5g} in {line['seconds']:.0f} s; "
                    f"about {seconds_left // 3600:.0f}:{seconds_left // 60 % 60:02.0f} h left",
                    flush=True,
                )
    return failed


def _acquire(lock: IO[str], work_dir: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"another queue is running in {work_dir}; waiting until it ends", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def _remaining_steps(futures: dict[Future, TrainingJob]) -> int:
    return sum(job.steps for future, job in futures.items() if not future.done())
