"""Figure 3 of the PPO paper: PPO beside what it is compared with. Protocol and results: results/algorithms.md.

    python -m benchmarks.paper.algorithms
    python -m benchmarks.paper.algorithms --env InvertedPendulum-v4 --seeds 0 --num-timesteps 1e5   a small one

May be killed at any moment and started again (training_queue.py).
"""

import sys

import numpy as np

from benchmarks.paper import surrogates
from benchmarks.returns.scores import bootstrap_interval, curve_figure, markdown_table, score_matrix
from benchmarks.returns.training_queue import Job, Results, main, report_name

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
PPO = "clipping, epsilon = 0.2"  # is trained for surrogates.py already
BENCHMARK = "algorithms"


def jobs(tasks=TASKS, seeds=(0, 1, 2), steps=1_000_000):
    """All trainings, seed by seed and task by task; PPO's are Table 1's."""
    ppo = {(job.env, job.seed): job for job in surrogates.jobs(tasks, seeds, steps) if job.setting == PPO}
    return [
        job
        for seed in seeds
        for env in tasks
        for job in (
            ppo[env, seed],
            *(Job(BENCHMARK, setting, env, seed, steps, words) for setting, words in SETTINGS.items()),
        )
    ]


def report(tasks, seeds, steps):
    """Write the table and the figure of what has finished; returns the table."""
    ppo = [line | {"setting": "PPO (clip)"} for line in Results(surrogates.BENCHMARK).lines if line["setting"] == PPO]
    lines = [
        line
        for line in ppo + Results(BENCHMARK).lines
        if line["steps"] == steps and line["seed"] in seeds and line["env"] in tasks
    ]
    settings = ["PPO (clip)", *SETTINGS]
    if not lines:
        return "nothing has finished yet"
    matrix = score_matrix(lines, settings, tasks, seeds, steps).scores
    rows = []
    for setting in settings:
        cells = []
        for column in matrix[setting].T:
            done = column[~np.isnan(column)]
            if not len(done):
                cells.append("")
                continue
            mean, low, high = bootstrap_interval(done[:, None])
            cells.append(f"{mean:,.1f} ({low:,.0f} to {high:,.0f})" if len(done) > 1 else f"{mean:,.1f}")
        rows.append((setting, *cells))
    text = (
        f"mean return of the last 100 training episodes after {steps:,} steps, mean over seeds (95 % bootstrap interval)\n\n"
        + markdown_table(("algorithm", *tasks), rows)
        + "\n"
    )
    place = report_name(BENCHMARK, tasks, TASKS, steps, seeds)
    place.with_name(f"{place.name}-table.md").write_text(text)
    curve_figure(place.with_suffix(".png"), lines, settings, tasks)
    return text


if __name__ == "__main__":
    sys.exit(main(__doc__, TASKS, jobs, report))
