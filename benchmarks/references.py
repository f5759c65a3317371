"""The references of the return tests: every small task on forty seeds, into tests/reference.

    python benchmarks/references.py                   all tasks
    python benchmarks/references.py --tasks ring      one

May be killed at any moment and started again; a change of the code starts afresh where it is committed.
"""
import argparse
import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]
import reference_bounds  # noqa: E402

RUNS, SEEDS = 3, range(100, 140)
PARTIAL = ROOT / "runs" / "references.jsonl"


def start():
    """In a worker: TensorFlow as the tests have it."""
    from common.quiet import import_tensorflow
    import_tensorflow(threads=1)


def train(name, seed):
    """One training's score."""
    import return_tasks
    return return_tasks.score(name, seed)


def write(name, steps, number_of_tasks, scores, commit, versions):
    """A task's reference."""
    values = [scores[seed] for seed in SEEDS]
    bound = reference_bounds.prediction_bound(values, RUNS, reference_bounds.FALSE_ALARMS / number_of_tasks)
    reference = {"task": name, "steps": steps, "mean": float(np.mean(values)), "deviation": float(np.std(values, ddof=1)), "runs": RUNS, "bound": bound,
                 "git_commit": commit, "versions": versions, "command": "python benchmarks/references.py",
                 "scores": {str(seed): scores[seed] for seed in SEEDS}}
    reference_bounds.FOLDER.mkdir(exist_ok=True)
    (reference_bounds.FOLDER / reference_bounds.file_name(name)).write_text(json.dumps(reference, indent=1) + "\n")
    print(f"{name}: {reference['mean']:.5g} ± {reference['deviation']:.3g}, least {min(values):.5g}; bound on the mean of {RUNS}: {bound:.5g}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", help="some of them [all]")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="trainings at once [the cores]")
    args = parser.parse_args()
    start()
    from return_tasks import TASKS

    from baselines_ppo.outputs import versions
    if unknown := set(args.tasks or ()) - TASKS.keys():
        parser.error(f"no task {unknown.pop()!r}; choose from {', '.join(TASKS)}")
    commit = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty=+"], capture_output=True, text=True).stdout.strip()
    PARTIAL.parent.mkdir(exist_ok=True)
    lines = [json.loads(line) for line in PARTIAL.read_text().splitlines()] if PARTIAL.exists() else []
    done = {(line["task"], line["seed"]): line["score"] for line in lines if line["commit"] == commit and line["steps"] == TASKS[line["task"]].steps}
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn"), start) as pool, PARTIAL.open("a") as partial:
        for name in args.tasks or TASKS:
            futures = {pool.submit(train, name, seed): seed for seed in SEEDS if (name, seed) not in done}
            for future in as_completed(futures):
                done[name, futures[future]] = future.result()
                line = {"task": name, "seed": futures[future], "score": future.result(), "steps": TASKS[name].steps, "commit": commit}
                partial.write(json.dumps(line) + "\n")
                partial.flush()
            write(name, TASKS[name].steps, len(TASKS), {seed: done[name, seed] for seed in SEEDS}, commit, versions())
    return 0


if __name__ == "__main__":
    sys.exit(main())
