"""Where presets come from: what one changed setting does, on seeds from 100 up, which no reported result and no reference of a million steps uses.

    python -m benchmarks.returns.tuning --env Hopper-v4 Walker2d-v4 --seeds 100 101 --try "preset=trpo" "preset=trpo cg_stride=1"

Each text after --try is one set of the command line's settings. Scored are the final policy, deterministically, which is what final_policies.py reports, and
the last 100 training episodes; their order may differ. The table is of everything that was ever tried on the tasks and steps named,
results/tuning.jsonl; --report only shows it. What was tried with a preset that has changed since has a row of its own, and is trained anew if it is
asked for again. May be killed at any moment and started again (training_queue.py).
"""

import argparse
import sys

import numpy as np

from benchmarks.returns.final_policies import REFERENCE_SEEDS
from benchmarks.returns.result_files import Job, Results, check, counts_for
from benchmarks.returns.scores import markdown_table
from benchmarks.returns.training_queue import add_jobs, run_queue, words_of
from common.errors import UserError

BENCHMARK, FIRST_SEED, EPISODES = "tuning", 100, 20


def job_of(text, env, seed, steps, episodes=EPISODES):
    """The training of one set of settings."""
    return Job(BENCHMARK, text, env, seed, steps, words_of(text), episodes, by_settings=True)


def row_name(line):
    """A line's row: its settings as they were typed, and the commit where a preset has made others of them since."""
    now = counts_for(line, job_of(line["setting"], line["env"], line["seed"], line["steps"], episodes=0))
    return line["setting"] if now else f"{line['setting']} (as of {line['git_commit'][:7]})"


def cell(scores):
    """The mean of {seed: score}, and each."""
    return (
        f"{np.mean(list(scores.values())):,.1f} ({', '.join(f'{scores[seed]:,.0f}' for seed in sorted(scores))})"
        if scores
        else ""
    )


def report(tasks, steps):
    """A Markdown table: a row for all settings tried, two columns a task: the final policy, and the last 100 training episodes; seeds behind the mean."""
    found = {}
    for line in Results(BENCHMARK).lines:
        if line["env"] in tasks and line["steps"] == steps:
            found.setdefault(row_name(line), {}).setdefault(line["env"], {})[line["seed"]] = line
    rows = []
    for name, by_task in found.items():
        cells = []
        for env in tasks:
            lines = by_task.get(env, {})
            cells += [
                cell(
                    {seed: np.mean(line["deterministic"]) for seed, line in lines.items() if line.get("deterministic")}
                ),
                cell({seed: line["score"] for seed, line in lines.items()}),
            ]
        rows.append((name, *cells))
    header = (
        "settings",
        *(
            part
            for env in tasks
            for part in (f"{env}, {EPISODES} deterministic episodes", f"{env}, last 100 of training")
        ),
    )
    return markdown_table(header, rows) if rows else "nothing has finished yet"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", nargs="+", required=True, metavar="ID", help="tasks")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[FIRST_SEED, FIRST_SEED + 1], help="seeds from 100 up [100 101]"
    )
    parser.add_argument(
        "--try",
        nargs="+",
        default=[],
        dest="settings",
        metavar="SETTINGS",
        help='"name=value name=value", each a set of settings',
    )
    parser.add_argument(
        "--num-timesteps",
        type=lambda text: int(float(text)),
        default=1_000_000,
        help="environment steps of a training [1e6]",
    )
    add_jobs(parser)
    parser.add_argument("--report", action="store_true", help="only show what was tried")
    args = parser.parse_args()
    if min(args.seeds) < FIRST_SEED:
        parser.error(f"seed {min(args.seeds)} is for reported results; tune on seeds from {FIRST_SEED} up")
    if kept := set(args.seeds) & set(REFERENCE_SEEDS):
        parser.error(
            f"seed {min(kept)} is in the references of the return tests; leave {REFERENCE_SEEDS[0]} to {REFERENCE_SEEDS[-1]} to them"
        )
    try:
        plan = [
            job_of(text, env, seed, args.num_timesteps)
            for seed in args.seeds
            for env in args.env
            for text in args.settings
        ]
        jobs = list(dict.fromkeys(plan))
        check(() if args.report else jobs)
    except (UserError, ValueError) as error:
        parser.error(str(error))
    failed = 0 if args.report else run_queue(jobs, args.jobs)
    print(report(args.env, args.num_timesteps))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
