"""Table 1 of the PPO paper: which surrogate objective is best? Protocol and results: results/surrogates.md.

    python -m benchmarks.paper.surrogates                        seven tasks, eleven settings, three seeds
    python -m benchmarks.paper.surrogates --env InvertedPendulum-v4 --seeds 0 --num-timesteps 1e5   a small comparison
    python -m benchmarks.paper.surrogates --time-limits death    the same, time limits treated as termination, as in 2017

Schulman et al. 2017, section 6.1. The command can be killed at any moment and restarted (training_queue.py).
"""

import sys
from collections.abc import Sequence

import numpy as np

from benchmarks.markdown import markdown_table
from benchmarks.returns.command_line import comparison_path, run_comparison
from benchmarks.returns.figures import bar_figure
from benchmarks.returns.published import PAPER_2017
from benchmarks.returns.result_files import ResultFile, TrainingJob
from benchmarks.returns.scores import (
    difference_interval,
    format_interval,
    mean_interval,
    normalised,
    random_scores,
    score_matrix,
)

TASKS = (
    "HalfCheetah-v4",
    "Hopper-v4",
    "InvertedDoublePendulum-v4",
    "InvertedPendulum-v4",
    "Reacher-v4",
    "Swimmer-v4",
    "Walker2d-v4",
)
# setting: (arguments, average normalised score in the paper)
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
# treatment of an episode that a time limit ends: (name of the results, arguments)
TIME_LIMITS = {"bootstrap": (BENCHMARK, ()), "death": (f"{BENCHMARK}-deaths", ("--bootstrap-time-limits", "false"))}


def jobs(
    tasks: Sequence[str] = TASKS,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 1_000_000,
    time_limits: str = "bootstrap",
) -> list[TrainingJob]:
    """All trainings, seed by seed, so that the finished ones always form a complete comparison of fewer seeds."""
    name, more = TIME_LIMITS[time_limits]
    return [
        TrainingJob(name, setting, env, seed, steps, ("--preset", "paper", *arguments, *more))
        for seed in seeds
        for env in tasks
        for setting, (arguments, _) in SETTINGS.items()
    ]


def report(tasks: Sequence[str], seeds: Sequence[int], steps: int, time_limits: str = "bootstrap") -> str:
    """Write the table and the figure of the complete seeds; returns the table."""
    name, _ = TIME_LIMITS[time_limits]
    matrix = score_matrix(ResultFile(name).lines, list(SETTINGS), tasks, seeds, steps)
    complete = [seed for seed in matrix.seeds if matrix.is_complete(seed)]
    if not complete:
        return "no seed has finished on every task and setting yet"
    raw, random = matrix.select(complete), random_scores(tasks)
    text = _table_text(raw, random, tasks, complete, steps)
    path = comparison_path(name, tasks, TASKS, steps, seeds)
    path.with_name(f"{path.name}-table.md").write_text(text)
    scores = normalised(raw, random)
    bar_figure(
        path.with_suffix(".png"),
        {setting: mean_interval(scores[setting]) for setting in SETTINGS},
        {setting: paper for setting, (_, paper) in SETTINGS.items()},
        "average normalised score",
    )
    return text


def _table_text(
    raw: dict[str, np.ndarray], random: np.ndarray, tasks: Sequence[str], seeds: Sequence[int], steps: int
) -> str:
    scores = normalised(raw, random)
    best = max(SETTINGS, key=lambda setting: scores[setting].mean())
    rows = []
    for setting, (_, paper) in SETTINGS.items():
        mean, low, high = mean_interval(scores[setting])
        means = (f"{raw[setting][:, i].mean():,.1f}" for i in range(len(tasks)))
        difference = "the best" if setting == best else _format_difference(scores[best], scores[setting])
        rows.append((setting, f"{mean:.2f}", format_interval(low, high), difference, f"{paper:.2f}", *means))
    header = (
        "surrogate",
        "score",
        "95 % interval",
        "difference to the best (95 % interval)",
        f"[paper]({PAPER_2017})",
        *tasks,
    )
    best_runs = np.max([one.max(axis=0) for one in raw.values()], axis=0)
    zero, one = (
        ", ".join(f"{env} {score:,.1f}" for env, score in zip(tasks, values)) for values in (random, best_runs)
    )
    return (
        f"seeds {', '.join(map(str, seeds))}, {steps:,} steps; score: average over {len(seeds) * len(tasks)} runs, "
        f"random policy 0, best run 1\n\n{markdown_table(header, rows)}\n\n0 is {zero}; 1 is {one}.\n"
    )


def _format_difference(best: np.ndarray, scores: np.ndarray) -> str:
    difference, low, high = difference_interval(best, scores)
    return f"{difference:.2f} ({format_interval(low, high)}{', not significant' if low <= 0 else ''})"


if __name__ == "__main__":
    sys.exit(run_comparison(__doc__, TASKS, jobs, report, time_limits=tuple(TIME_LIMITS)))
