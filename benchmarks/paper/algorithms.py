"""Figure 3 of the PPO paper: PPO compared with TRPO, A2C and REINFORCE. Protocol and results: results/algorithms.md.

    python -m benchmarks.paper.algorithms
    python -m benchmarks.paper.algorithms --env InvertedPendulum-v4 --seeds 0 --num-timesteps 1e5   a small comparison

The command can be killed at any moment and restarted (training_queue.py).
"""

import sys
from collections.abc import Sequence

import numpy as np

from benchmarks.markdown import markdown_table
from benchmarks.paper import surrogates
from benchmarks.returns.command_line import comparison_path, run_comparison
from benchmarks.returns.figures import curve_figure
from benchmarks.returns.result_files import Line, ResultFile, TrainingJob
from benchmarks.returns.scores import mean_interval, score_matrix

TASKS = (
    "Hopper-v4",
    "HalfCheetah-v4",
    "Walker2d-v4",
    "InvertedDoublePendulum-v4",
    "InvertedPendulum-v4",
    "Reacher-v4",
    "Swimmer-v4",
)
SETTINGS = {
    "TRPO": ("--preset", "trpo"),
    "A2C": ("--preset", "a2c"),
    "REINFORCE with a baseline": ("--preset", "reinforce"),
}
PPO = "clipping, epsilon = 0.2"  # label in surrogates.py, whose trainings are reused
BENCHMARK = "algorithms"


def jobs(tasks: Sequence[str] = TASKS, seeds: Sequence[int] = (0, 1, 2), steps: int = 1_000_000) -> list[TrainingJob]:
    """All trainings, seed by seed and task by task; those of PPO are the trainings of Table 1."""
    ppo = {(job.env, job.seed): job for job in surrogates.jobs(tasks, seeds, steps) if job.setting == PPO}
    plan = []
    for seed in seeds:
        for env in tasks:
            plan.append(ppo[env, seed])
            plan += [TrainingJob(BENCHMARK, name, env, seed, steps, args) for name, args in SETTINGS.items()]
    return plan


def finished(tasks: Sequence[str], seeds: Sequence[int], steps: int) -> tuple[list[Line], list[str]]:
    """The lines of the finished trainings, those of Table 1 included, and the labels of the algorithms."""
    table_1 = ResultFile(surrogates.BENCHMARK).lines
    ppo = [line | {"setting": "PPO (clip)"} for line in table_1 if line["setting"] == PPO]
    lines = [
        line
        for line in ppo + ResultFile(BENCHMARK).lines
        if line["steps"] == steps and line["seed"] in seeds and line["env"] in tasks
    ]
    return lines, ["PPO (clip)", *SETTINGS]


def report(tasks: Sequence[str], seeds: Sequence[int], steps: int) -> str:
    """Write the table and the figure of the finished trainings; returns the table."""
    lines, settings = finished(tasks, seeds, steps)
    if not lines:
        return "no training has finished yet"
    matrix = score_matrix(lines, settings, tasks, seeds, steps).scores
    rows = [(setting, *map(_format_scores, matrix[setting].T)) for setting in settings]
    text = (
        f"mean return of the last 100 training episodes after {steps:,} steps, mean over seeds (95 % bootstrap interval)\n\n"
        + markdown_table(("algorithm", *tasks), rows)
        + "\n"
    )
    path = comparison_path(BENCHMARK, tasks, TASKS, steps, seeds)
    path.with_name(f"{path.name}-table.md").write_text(text)
    curve_figure(path.with_suffix(".png"), lines, settings, tasks)
    return text


def _format_scores(scores: np.ndarray) -> str:
    finished = scores[~np.isnan(scores)]
    if not len(finished):
        return ""
    mean, low, high = mean_interval(finished[:, None])
    return f"{mean:,.1f} ({low:,.0f} to {high:,.0f})" if len(finished) > 1 else f"{mean:,.1f}"


if __name__ == "__main__":
    sys.exit(run_comparison(__doc__, TASKS, jobs, report))
