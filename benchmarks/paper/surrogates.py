"""Table 1 of the PPO paper: which surrogate objective is best? Protocol and results: results/surrogates.md.

    python -m benchmarks.paper.surrogates                                                     seven tasks, eleven settings, three seeds
    python -m benchmarks.paper.surrogates --env InvertedPendulum-v4 --seeds 0 --num-timesteps 1e5   a small one
    python -m benchmarks.paper.surrogates --time-limits death                                 the same, time limits taken for deaths as in 2017

Schulman et al. 2017, section 6.1. May be killed at any moment and started again (training_queue.py).
"""

import sys

import numpy as np

from benchmarks.returns.scores import (
    bar_figure,
    bootstrap_interval,
    difference_interval,
    markdown_table,
    normalised,
    random_scores,
    score_matrix,
    span,
)
from benchmarks.returns.training_queue import Job, Results, main, report_name

TASKS = (
    "HalfCheetah-v4",
    "Hopper-v4",
    "InvertedDoublePendulum-v4",
    "InvertedPendulum-v4",
    "Reacher-v4",
    "Swimmer-v4",
    "Walker2d-v4",
)
# setting: (arguments, the paper's average normalised score)
SETTINGS = {
    "no clipping or penalty": (("--objective", "unclipped"), -0.39),
    "clipping, epsilon = 0.1": (("--clip-param", "0.1"), 0.76),
    "clipping, epsilon = 0.2": (("--clip-param", "0.2"), 0.82),
    "clipping, epsilon = 0.3": (("--clip-param", "0.3"), 0.70),
    "adaptive KL, target = 0.003": (("--objective", "adaptive_kl", "--kl-target", "0.003"), 0.68),
    "adaptive KL, target = 0.01": (("--objective", "adaptive_kl", "--kl-target", "0.01"), 0.74),
    "adaptive KL, target = 0.03": (("--objective", "adaptive_kl", "--kl-target", "0.03"), 0.71),
    "fixed KL, beta = 0.3": (("--objective", "fixed_kl", "--beta", "0.3"), 0.62),
    "fixed KL, beta = 1": (("--objective", "fixed_kl", "--beta", "1"), 0.71),
    "fixed KL, beta = 3": (("--objective", "fixed_kl", "--beta", "3"), 0.72),
    "fixed KL, beta = 10": (("--objective", "fixed_kl", "--beta", "10"), 0.69),
}
BENCHMARK = "surrogates"
# what an episode that a time limit ends is worth from there on: (name of the results, arguments)
TIME_LIMITS = {"bootstrap": (BENCHMARK, ()), "death": (f"{BENCHMARK}-deaths", ("--bootstrap-time-limits", "false"))}


def jobs(tasks=TASKS, seeds=(0, 1, 2), steps=1_000_000, time_limits="bootstrap"):
    """All trainings, seed by seed, so that what has finished is always a whole comparison of fewer seeds."""
    name, more = TIME_LIMITS[time_limits]
    return [
        Job(name, setting, env, seed, steps, ("--preset", "paper", *words, *more))
        for seed in seeds
        for env in tasks
        for setting, (words, _) in SETTINGS.items()
    ]


def report(tasks, seeds, steps, time_limits="bootstrap"):
    """Write the table and the figure of what has finished; returns the table."""
    name, _ = TIME_LIMITS[time_limits]
    matrix = score_matrix(Results(name).lines, list(SETTINGS), tasks, seeds, steps)
    whole = [seed for seed in matrix.seeds if matrix.complete(seed)]
    if not whole:
        return "no seed has finished on every task and setting yet"
    scores = normalised(matrix.of(whole), random_scores(tasks))
    best = max(SETTINGS, key=lambda setting: scores[setting].mean())
    rows = []
    for setting, (_, paper) in SETTINGS.items():
        mean, low, high = bootstrap_interval(scores[setting])
        behind, least, most = difference_interval(scores[best], scores[setting])
        if setting == best:
            told = "the best"
        else:
            told = f"{behind:.2f} ({span(least, most)}{', not told apart' if least <= 0 else ''})"
        rows.append(
            (
                setting,
                f"{mean:.2f}",
                span(low, high),
                told,
                f"{paper:.2f}",
                *(f"{matrix.of(whole)[setting][:, i].mean():,.1f}" for i in range(len(tasks))),
            )
        )
    table = markdown_table(
        ("surrogate", "score", "95 % interval", "behind the best (95 % interval)", "paper", *tasks), rows
    )
    random = ", ".join(f"{env} {score:,.1f}" for env, score in zip(tasks, random_scores(tasks)))
    top = ", ".join(
        f"{env} {score:,.1f}"
        for env, score in zip(tasks, np.max([one.max(axis=0) for one in matrix.of(whole).values()], axis=0))
    )
    text = (
        f"seeds {', '.join(map(str, whole))}, {steps:,} steps; score: average over {len(whole) * len(tasks)} runs, random policy 0, best run 1\n\n"
        f"{table}\n\n0 is {random}; 1 is {top}.\n"
    )
    place = report_name(name, tasks, TASKS, steps, seeds)
    place.with_name(f"{place.name}-table.md").write_text(text)
    bar_figure(
        place.with_suffix(".png"),
        {setting: bootstrap_interval(scores[setting]) for setting in SETTINGS},
        {setting: paper for setting, (_, paper) in SETTINGS.items()},
        "average normalised score",
    )
    return text


if __name__ == "__main__":
    sys.exit(main(__doc__, TASKS, jobs, report, time_limits=tuple(TIME_LIMITS)))
