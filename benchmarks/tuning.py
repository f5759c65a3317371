"""Where presets come from: what one changed setting does, on seeds from 100 up, which no reported result uses.

    python benchmarks/tuning.py --env Hopper-v4 Walker2d-v4 --seeds 100 101 --try "preset=trpo" "preset=trpo cg_stride=1"

Each text after --try is one set of the command line's settings. The table is of everything that was ever tried on the tasks and steps
named, results/tuning.jsonl; --report only shows it. May be killed at any moment and started again (training_queue.py).
"""
import argparse
import os
import sys

import numpy as np
from scores import markdown_table
from training_queue import Job, Results, run_queue

BENCHMARK, FIRST_SEED = "tuning", 100


def words_of(text):
    """'preset=trpo cg_stride=1' as the command line's words.

    Raises:
        ValueError: for a part without "=".
    """
    pairs = [part.partition("=") for part in text.split()]
    if bad := [name for name, equals, _ in pairs if not equals]:
        raise ValueError(f"{bad[0]!r} in {text!r} is not name=value")
    return tuple(word for name, _, value in pairs for word in (f"--{name.replace('_', '-')}", value))


def report(tasks, steps):
    """A Markdown table: a row for all settings tried, a column a task, seeds behind the mean of the last 100 training episodes."""
    lines = [line for line in Results(BENCHMARK).lines if line["env"] in tasks and line["steps"] == steps]
    rows = []
    for setting in dict.fromkeys(line["setting"] for line in lines):
        cells = []
        for env in tasks:
            scores = {line["seed"]: line["score"] for line in lines if line["env"] == env and line["setting"] == setting}
            cells.append(f"{np.mean(list(scores.values())):,.1f} ({', '.join(f'{scores[seed]:,.0f}' for seed in sorted(scores))})" if scores else "")
        rows.append((setting, *cells))
    return markdown_table(("settings", *tasks), rows) if rows else "nothing has finished yet"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", nargs="+", required=True, metavar="ID", help="tasks")
    parser.add_argument("--seeds", type=int, nargs="+", default=[FIRST_SEED, FIRST_SEED + 1], help="seeds from 100 up [100 101]")
    parser.add_argument("--try", nargs="+", default=[], dest="settings", metavar="SETTINGS", help='"name=value name=value", each a set of settings')
    parser.add_argument("--num-timesteps", type=lambda text: int(float(text)), default=1_000_000, help="environment steps of a training [1e6]")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="trainings at once [the cores]")
    parser.add_argument("--report", action="store_true", help="only show what was tried")
    args = parser.parse_args()
    if min(args.seeds) < FIRST_SEED:
        parser.error(f"seed {min(args.seeds)} is for reported results; tune on seeds from {FIRST_SEED} up")
    try:
        words = {text: words_of(text) for text in args.settings}
    except ValueError as error:
        parser.error(str(error))
    jobs = [Job(BENCHMARK, text, env, seed, args.num_timesteps, words[text]) for seed in args.seeds for env in args.env for text in words]
    failed = 0 if args.report else run_queue(jobs, args.jobs)
    print(report(args.env, args.num_timesteps))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
