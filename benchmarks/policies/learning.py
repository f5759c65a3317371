"""Train policies with memory, action masks, mixed observations and mixed actions on tasks with a known best return.

    python -m benchmarks.policies.learning                              all trainings, seeds 20 to 22
    python -m benchmarks.policies.learning --only "recall, LSTM"        some of them
    python -m benchmarks.policies.learning --report                     train nothing; write the table

Settings are chosen on seeds from 100 up, which are never reported. The settings of recall, CartPole and Pendulum were changed after
trainings on seeds 0 to 12 had missed their minimum: of CartPole, seed 0 is therefore not a fresh one. A finished training is a line of results/policies.jsonl, and is repeated only if
its settings have changed. The exit status is 1 if a return is below the required minimum.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence

from benchmarks.markdown import markdown_table
from benchmarks.paths import RESULTS
from benchmarks.policies.records import FIRST_TUNING_SEED, describe_machines, run_training, same_training, steady_speed
from benchmarks.policies.trainings import TRAININGS
from benchmarks.returns.result_files import Line, ResultFile

BENCHMARK = "policies"
SEEDS = (20, 21, 22)
PAGE = RESULTS / "policies-table.md"


def lines_of(results: ResultFile, name: str) -> dict[int, Line]:
    """{reported seed: last line with the current settings and all steps} of a training."""
    training = TRAININGS[name]
    return {
        line["seed"]: line
        for line in results.lines
        if line["seed"] < FIRST_TUNING_SEED
        and line["steps"] == training.steps
        and same_training(line, name, training, "baselines_ppo")
    }


def has_passed(name: str, lines: dict[int, Line]) -> bool:
    """Whether each seed reached the required return."""
    minimum = TRAININGS[name].minimum
    return minimum is None or all(statistics.fmean(line["returns"]) >= minimum for line in lines.values())


def table(results: ResultFile) -> str:
    """A Markdown table with a row for each training."""
    rows, used = [], []
    for name, training in TRAININGS.items():
        lines = lines_of(results, name)
        if not lines:
            continue
        used += lines.values()
        ordered = [lines[seed] for seed in sorted(lines)]
        solved = [
            "never" if line["steps_until_solved"] is None else f"{line['steps_until_solved']:,}" for line in ordered
        ]
        rows.append(
            (
                name,
                f"{training.steps:,}",
                ", ".join(map(str, sorted(lines))),
                ", ".join(f"{statistics.fmean(line['returns']):,.2f}" for line in ordered),
                ""
                if training.minimum is None
                else f"{training.minimum:,.2f}, {'reached' if has_passed(name, lines) else 'missed'}",
                "" if training.solved is None else ", ".join(solved),
                f"{statistics.median(steady_speed(line) for line in ordered):,.0f}",
            )
        )
    header = ("training", "steps", "seeds", "return", "required, each seed", "steps until solved", "steps/s, median")
    return (
        f"{markdown_table(header, rows)}\n\n{describe_machines(used)}\n" if rows else "no training has finished yet\n"
    )


def train(names: Sequence[str], seeds: Sequence[int], results: ResultFile) -> None:
    """Train what has no line yet, seed by seed."""
    for seed in seeds:
        for name in names:
            training = TRAININGS[name]
            known = any(
                line["seed"] == seed
                and line["steps"] == training.steps
                and same_training(line, name, training, "baselines_ppo")
                for line in results.lines
            )
            if known:
                continue
            line = run_training(name, training, seed, training.steps)
            results.add(line)
            print(
                f"{name}, seed {seed}: return {statistics.fmean(line['returns']):,.2f}, "
                f"{steady_speed(line):,.0f} steps/s, solved after {line['steps_until_solved']} steps",
                flush=True,
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=TRAININGS, default=list(TRAININGS), metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--report", action="store_true", help="train nothing; write the table")
    args = parser.parse_args()
    results = ResultFile(BENCHMARK)
    if not args.report:
        train(args.only, args.seeds, results)
    text = table(results)
    PAGE.write_text(text)
    print(text)
    return int(not all(has_passed(name, lines_of(results, name)) for name in args.only))


if __name__ == "__main__":
    sys.exit(main())
