"""One queue for all long benchmarks: trainings in order, as many at once as there are cores, finished ones kept as JSON lines.

It may be killed at any moment. What has finished is not run again; what was under way goes on from its last scheduled checkpoint, to the
bit, or starts afresh where the code has changed since.
"""

import argparse
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
from concurrent.futures import ThreadPoolExecutor, as_completed

from baselines_ppo.sweep.processes import launcher
from benchmarks.paths import RESULTS, ROOT
from benchmarks.returns.result_files import Job, Results  # noqa: F401  the benchmarks have all of these from here

LAST_EPISODES = 100
CURVE_POINTS = 100
SEEDS = (0, 1, 2)  # of a comparison


def train(job, work, alone=True):
    """Run one training to its end; its JSON line.

    Args:
        work: folder for the run's own folder, which is removed afterwards.
        alone: no other training runs beside it: its environments may have all cores.

    Raises:
        RuntimeError: with the command's last words, if it fails.
    """
    name, commit = folder_name(job), tree_commit()
    run_dir, begun = work / name, work / f"{name}.commit"
    with contextlib.suppress(FileNotFoundError), (run_dir / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a training may have outlived a queue that was killed: it will end
    if (
        any(run_dir.glob("checkpoints/ckpt-????????.safetensors"))
        and begun.exists()
        and begun.read_text() == commit
        and not commit.endswith("+")
    ):
        words = ["--run-dir", str(run_dir), "--resume", "exact"]
    else:
        shutil.rmtree(run_dir, ignore_errors=True)
        begun.write_text(commit)
        words = [
            "--env",
            job.env,
            "--seed",
            str(job.seed),
            "--num-timesteps",
            str(job.steps),
            "--run-dir",
            str(run_dir),
            "--report",
            "false",
            *([] if alone else ["--env-threads", "1"]),
            *map(str, job.words),
        ]
    command = [*launcher(job.ranks), sys.executable, str(ROOT / "run.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TF_NUM_INTRAOP_THREADS": "1"})
    if done.returncode:
        raise RuntimeError(f"{job}: ended with status {done.returncode}: {' '.join(done.stderr.split())[-400:]}")
    line = described(job, run_dir) | {"git_commit": commit}
    if job.episodes:
        line |= played(run_dir, job)
    shutil.rmtree(run_dir)
    begun.unlink()
    return line


def folder_name(job):
    """A name for a training's folder: readable, its own, and as long as a file's name may be."""
    words = "-".join("".join(c if c.isalnum() or c == "." else "_" for c in str(part)) for part in job.key)
    return words if len(words) < 200 else f"{words[:150]}-{hashlib.sha256(words.encode()).hexdigest()[:12]}"


def tree_commit():
    """The commit of this tree, with a "+" behind it where anything but results and references has changed since."""

    def git(*words):
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True).stdout.strip()

    changed = git(
        "status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results", ":!tests/reference"
    )
    return git("rev-parse", "HEAD") + ("+" if changed else "")


def played(run_dir, job):
    """{'deterministic': [returns], 'stochastic': [returns]} of a finished run's policy, on environments with seeds of their own."""
    words = [
        sys.executable,
        "-m",
        "benchmarks.returns.evaluate_policy",
        str(run_dir.absolute()),
        "--episodes",
        str(job.episodes),
        "--seed",
        str(10_000 + job.seed),
    ]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(
            f"{job}: its evaluation ended with status {done.returncode}: {' '.join(done.stderr.split())[-400:]}"
        )
    return {
        how: [round(ret, 3) for ret in returns] for how, returns in json.loads(done.stdout.splitlines()[-1]).items()
    }


def described(job, run_dir):
    """The JSON line of a finished run: its score, its curve, and all that made it."""
    config = json.loads((run_dir / "config.json").read_text())
    returns = (
        [
            float(row.split(",")[0])
            for path in sorted(run_dir.glob("*.monitor.csv"))
            for row in path.read_text().splitlines()[2:]
        ]
        if config["settings"]["num_envs"] * config["ranks"] == 1
        else None
    )
    with (run_dir / "progress.csv").open() as file:
        rows = list(csv.DictReader(file))
    thin = rows[:: max(1, len(rows) // CURVE_POINTS)]
    score = statistics.fmean(returns[-LAST_EPISODES:]) if returns else float(rows[-1]["EpRewMean"])
    return {
        "benchmark": job.benchmark,
        "setting": job.setting,
        "env": job.env,
        "seed": job.seed,
        "steps": job.steps,
        "score": score,
        "curve": [
            [int(row["TimestepsSoFar"]), float(row["EpRewMean"])] for row in thin if row["EpRewMean"] not in ("", "nan")
        ],
        "episodes": int(rows[-1]["EpisodesSoFar"]),
        "length": float(rows[-1]["EpLenMean"]),
        "seconds": float(rows[-1]["TimeElapsed"]),
        "settings": config["settings"] | {"run_dir": None},
        "versions": config["versions"],
        "platform": config["platform"],
    }


def run_queue(jobs, at_once, work=ROOT / "runs" / "queue"):
    """Run all jobs that have no result yet, in order, `at_once` at a time; returns how many failed."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    work.mkdir(parents=True, exist_ok=True)
    failed, steps_done = 0, 0
    with (
        (work / ".lock").open("w") as lock,
        Progress(
            "{task.description}",
            BarColumn(20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            disable=not sys.stdout.isatty(),
        ) as progress,
    ):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another queue is at work in {work}; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        results = {
            job.benchmark: Results(job.benchmark) for job in jobs
        }  # only now: the other queue has finished some of them
        waiting, began = [job for job in jobs if job not in results[job.benchmark]], time.monotonic()
        bar = progress.add_task("trainings", total=len(jobs), completed=len(jobs) - len(waiting))
        print(f"{len(jobs)} trainings, {len(jobs) - len(waiting)} of them done already, {at_once} at once", flush=True)
        with ThreadPoolExecutor(at_once) as pool:
            futures = {pool.submit(train, job, work, at_once == 1): job for job in waiting}
            for number, future in enumerate(as_completed(futures), len(jobs) - len(waiting) + 1):
                job = futures[future]
                progress.advance(bar)
                try:
                    line = future.result()
                except Exception as error:  # of one training: the others go on
                    failed += 1
                    print(
                        f"[{number}/{len(jobs)}] FAILED: {error if isinstance(error, RuntimeError) else repr(error)}",
                        flush=True,
                    )
                    continue
                results[job.benchmark].add(line)
                steps_done += job.steps
                rest = sum(job.steps for future, job in futures.items() if not future.done())
                left = rest * (time.monotonic() - began) / steps_done
                print(
                    f"[{number}/{len(jobs)}] {job}: {line['score']:.5g} in {line['seconds']:.0f} s; "
                    f"about {left // 3600:.0f}:{left // 60 % 60:02.0f} h left",
                    flush=True,
                )
    return failed


def report_name(name, tasks, all_tasks, steps, seeds=SEEDS):
    """Where the report of a comparison goes, without its endings."""
    return report_place(name, set(tasks) == set(all_tasks) and steps == 1_000_000 and set(SEEDS) <= set(seeds))


def report_place(name, whole):
    """Where a report goes, without its endings: a small one, of fewer tasks, steps or seeds, does not take the place of the whole one."""
    return RESULTS / (name if whole else f"{name}-part")


def words_of(text):
    """'preset=trpo cg_stride=1' as the command line's words.

    Raises:
        ValueError: for a part without "=".
    """
    pairs = [part.partition("=") for part in text.split()]
    if bad := [name for name, equals, _ in pairs if not equals]:
        raise ValueError(f"{bad[0]!r} in {text!r} is not name=value")
    return tuple(word for name, _, value in pairs for word in (f"--{name.replace('_', '-')}", value))


def at_once(text):
    """How many trainings, an int from 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} trainings at once; give 1 or more")
    return int(text)


def add_jobs(parser, default="the cores"):
    """Give a benchmark's command line its --jobs."""
    parser.add_argument(
        "--jobs", type=at_once, default=len(os.sched_getaffinity(0)), help=f"trainings at once [{default}]"
    )


def main(doc, tasks, jobs, report, **variants):
    """The command line of one long benchmark; returns the exit status.

    Args:
        doc: its description.
        tasks: its default tasks.
        jobs, report: functions (tasks, seeds, steps, **variant) -> [Job], and -> the table's text.
        variants: {argument of both: its choices, the default first}.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", nargs="+", default=list(tasks), metavar="ID", help=f"tasks [{' '.join(tasks)}]")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="seeds [0 1 2]")
    parser.add_argument(
        "--num-timesteps",
        type=lambda text: int(float(text)),
        default=1_000_000,
        help="environment steps of a training [1e6]",
    )
    add_jobs(parser)
    parser.add_argument("--report", action="store_true", help="only write the table and figure of what has finished")
    for name, choices in variants.items():
        parser.add_argument(f"--{name.replace('_', '-')}", choices=choices, default=choices[0], help=f"[{choices[0]}]")
    args = parser.parse_args()
    what = [*dict.fromkeys(args.env)], [*dict.fromkeys(args.seeds)], args.num_timesteps
    variant = {name: getattr(args, name) for name in variants}
    failed = 0 if args.report else run_queue(jobs(*what, **variant), args.jobs)
    print(report(*what, **variant))
    return 1 if failed else 0
