"""Measure the effect of changed settings, for choosing presets. Its seeds are no other benchmark's.

    python -m benchmarks.returns.tuning --env Hopper-v4 Walker2d-v4 --seeds 100 101 --try "preset=trpo" "preset=trpo cg_stride=1"

Each text after --try is one set of command line settings. Two scores are reported: of the final policy, deterministic (as in
final_policies.py), and of the last 100 training episodes. They may rank the settings differently. The table shows everything in
results/tuning.jsonl for the given tasks and steps; --report trains nothing. If a preset has changed since a training, the training
gets a separate row and is repeated when it is requested again.

With --control the settings after --try are compared in pairs with those of --control. The table then has the interquartile mean, the
mean of the lowest quarter of the seeds, and the failures. It uses the given seeds and kernels, and no line with outdated settings.

The command can be killed at any moment and restarted (training_queue.py).
"""

import argparse
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.markdown import markdown_table
from benchmarks.returns.command_line import (
    add_jobs_argument,
    add_kernels_argument,
    add_steps_argument,
    check_kernels,
    to_arguments,
)
from benchmarks.returns.final_policies import FINAL_SEEDS, REFERENCE_SEEDS
from benchmarks.returns.group_table import policy_score
from benchmarks.returns.result_files import (
    OWN_KERNELS,
    Line,
    ResultFile,
    TrainingJob,
    satisfies,
    validate_settings,
    with_kernels,
)
from benchmarks.returns.scores import FAILED, TARGETS, Scores, paired_difference, relative_to_targets, summarise
from benchmarks.returns.training_queue import run_queue
from common.errors import UserError

BENCHMARK = "tuning"
FIRST_SEED = 100
EPISODES = 20


def make_job(
    text: str, env: str, seed: int, steps: int, episodes: int = EPISODES, kernels: str = OWN_KERNELS
) -> TrainingJob:
    """The training of one set of settings."""
    label, arguments = with_kernels(text, kernels), to_arguments(text)
    return TrainingJob(BENCHMARK, label, env, seed, steps, arguments, episodes, match_settings=True, kernels=kernels)


def row_name(line: Line) -> str:
    """The settings of a line as given; with its commit if a preset has changed since."""
    kernels = line.get("kernels", OWN_KERNELS)
    text = line["setting"].removesuffix(with_kernels("", kernels))
    job = make_job(text, line["env"], line["seed"], line["steps"], 0, kernels)
    return line["setting"] if satisfies(line, job) else f"{line['setting']} (as of {line['git_commit'][:7]})"


def format_scores(scores: dict[int, float]) -> str:
    """The mean of {seed: score}, followed by each score."""
    if not scores:
        return ""
    return f"{np.mean(list(scores.values())):,.1f} ({', '.join(f'{scores[seed]:,.0f}' for seed in sorted(scores))})"


def report(tasks: Sequence[str], steps: int) -> str:
    """A Markdown table: one row per set of settings, two columns per task."""
    found: dict[str, dict[str, dict[int, Line]]] = {}
    for line in ResultFile(BENCHMARK).lines:
        if line["env"] in tasks and line["steps"] == steps:
            found.setdefault(row_name(line), {}).setdefault(line["env"], {})[line["seed"]] = line
    rows = []
    for name, by_task in found.items():
        cells = []
        for env in tasks:
            lines = by_task.get(env, {})
            evaluated = {
                seed: float(np.mean(line["deterministic"])) for seed, line in lines.items() if line.get("deterministic")
            }
            cells += [format_scores(evaluated), format_scores({seed: line["score"] for seed, line in lines.items()})]
        rows.append((name, *cells))
    columns = [(f"{env}, {EPISODES} deterministic episodes", f"{env}, last 100 of training") for env in tasks]
    header = ("settings", *(name for pair in columns for name in pair))
    return markdown_table(header, rows) if rows else "no training has finished yet"


def format_comparison(scores_by_setting: Mapping[str, Scores], control: str) -> str:
    """A Markdown table of `Summary` and `Difference` of each set of settings, best lowest quarter first.

    Settings that lack a training which others have are marked and come last: their columns are not comparable.

    Args:
        scores_by_setting: {settings: {(task, seed): return}}.
        control: the settings that the others are compared with.
    """
    normalised = {name: relative_to_targets(scores) for name, scores in scores_by_setting.items()}
    summaries = {name: summarise(scores) for name, scores in normalised.items()}
    most = max(one.runs for one in summaries.values())
    rows = []
    for name in sorted(summaries, key=lambda name: (summaries[name].runs < most, -summaries[name].lowest_quarter)):
        one = summaries[name]
        difference = None if name == control else paired_difference(normalised[name], normalised[control])
        cells = ("control" if name == control else "", "")
        if difference is not None:
            cells = (str(difference), str(difference.pairs))
        numbers = f"{one.middle:.3f}", f"{one.lowest_quarter:.3f}", f"{one.lowest:.3f}", f"{one.failed:.0%}"
        rows.append((name + (" (incomplete)" if one.runs < most else ""), str(one.runs), *numbers, *cells))
    columns = ("settings", "runs", "interquartile mean", "lowest quarter", "lowest", "failed")
    table = markdown_table((*columns, "difference from the control ± standard error", "pairs"), rows)
    note = f"Scores: 0 for an untrained policy, 1 for the task's target; means over tasks. Failed: below {FAILED:g}."
    return f"{table}\n\n{note}"


def compare(
    texts: Sequence[str],
    control: str,
    tasks: Sequence[str],
    seeds: Sequence[int],
    steps: int,
    kernels: str = OWN_KERNELS,
) -> str:
    """The table of `format_comparison` for the finished trainings of some sets of settings, the control among them."""
    results, scores = ResultFile(BENCHMARK), {}
    for text in dict.fromkeys([control, *texts]):
        lines = {
            (env, seed): results.find(make_job(text, env, seed, steps, kernels=kernels))
            for env in tasks
            for seed in seeds
        }
        scores[text] = {key: policy_score(line) for key, line in lines.items() if line}
    missing = [text for text in scores if not scores[text]]
    found = {text: one for text, one in scores.items() if one}
    if control in missing:
        return f"no training with the settings of the control, {control}, has finished yet"
    return "\n\n".join([format_comparison(found, control), *(f"no training has finished: {text}" for text in missing)])


def check_seeds(parser: argparse.ArgumentParser, seeds: Sequence[int]) -> None:
    """Refuse the seeds of reported results and of references."""
    if min(seeds) < FIRST_SEED:
        parser.error(f"invalid --seeds {min(seeds)}: reserved for reported results; tune on {FIRST_SEED} and higher")
    reserved = {
        "the references of the return tests": REFERENCE_SEEDS,
        "the final results, on which nothing may be chosen": FINAL_SEEDS,
    }
    for purpose, of_purpose in reserved.items():
        if found := set(seeds) & set(of_purpose):
            parser.error(
                f"invalid --seeds {min(found)}: {of_purpose[0]} to {of_purpose[-1]} are reserved for {purpose}; choose another"
            )


def main() -> int:
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
        help='sets of settings, each as "name=value name=value"',
    )
    add_steps_argument(parser)
    add_jobs_argument(parser)
    add_kernels_argument(parser)
    parser.add_argument(
        "--control", metavar="SETTINGS", help="train these settings, too, and compare the others with them"
    )
    parser.add_argument("--report", action="store_true", help="train nothing; show the table")
    args = parser.parse_args()
    check_seeds(parser, args.seeds)
    if args.control is not None and (unknown := set(args.env) - set(TARGETS)):
        parser.error(
            f"invalid --control with --env {min(unknown)}: this task has no target; choose from {', '.join(TARGETS)}"
        )
    texts = [*([] if args.control is None else [args.control]), *args.settings]
    try:
        check_kernels(args.kernels)
        jobs = list(
            dict.fromkeys(
                make_job(text, env, seed, args.num_timesteps, kernels=args.kernels)
                for seed in args.seeds
                for env in args.env
                for text in texts
            )
        )
        if not args.report:
            validate_settings(jobs)
    except (UserError, ValueError) as error:
        parser.error(str(error))
    failed = 0 if args.report else run_queue(jobs, args.jobs)
    if args.control is None:
        print(report(args.env, args.num_timesteps))
    else:
        print(compare(args.settings, args.control, args.env, args.seeds, args.num_timesteps, args.kernels))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
