"""The results that README.md shows, computed from the result files. They are kept in results/readme.json.

The file holds the confidence intervals, which need rliable; everything else is computed again when the page is checked.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks import paths
from benchmarks.paper import algorithms, surrogates
from benchmarks.readme.selection import Selection, select
from benchmarks.returns import final_policies
from benchmarks.returns.result_files import ResultFile, TrainingJob
from benchmarks.returns.scores import difference_interval, mean_interval, normalised, random_scores, score_matrix

Summary = dict[str, Any]
NAME = "readme.json"
GROUP = "references"  # of final_policies.py: the table and the figure of README.md
STEPS = 1_000_000
INTERVAL = "interval"


def build(intervals: bool = True) -> Summary:
    """The summary of the committed results.

    Args:
        intervals: whether to compute 95 % bootstrap intervals, which needs rliable.

    Raises:
        UserError: if a task lacks a seed.
    """
    results = ResultFile(final_policies.BENCHMARK)
    plans = {name: final_policies.jobs(name) for name in (GROUP, "ranks", "long")}
    summary = {
        "returns": _tasks(results, plans[GROUP], intervals),
        "ranks": _tasks(results, plans["ranks"], False, any_number=True),
        "long": _tasks(results, plans["long"], False, any_number=True),
        "surrogates": {name: _surrogates(name, intervals) for name in surrogates.TIME_LIMITS},
        "algorithms": _algorithms(),
    }
    return json.loads(json.dumps(summary))


def _tasks(
    results: ResultFile, plan: Iterable[TrainingJob], intervals: bool, any_number: bool = False
) -> dict[str, Summary]:
    by_task: dict[str, list[TrainingJob]] = {}
    for job in plan:
        by_task.setdefault(job.env, []).append(job)
    return {env: _task(select(results, jobs, any_number), intervals) for env, jobs in by_task.items()}


def _task(selection: Selection, intervals: bool) -> Summary:
    lines, job = selection.lines, selection.job
    evaluated = job.episodes > 0
    scores = np.array([np.mean(line["deterministic"]) if evaluated else line["score"] for line in lines])
    summary = {
        "seeds": [line["seed"] for line in lines],
        "scores": rounded(scores),
        "measure": f"{job.episodes} deterministic episodes" if evaluated else "last 100 training episodes",
        "mean": rounded(scores.mean()),
        "std": rounded(scores.std(ddof=1)) if len(scores) > 1 else None,
        "steps": job.steps,
        "seconds": rounded(np.median([line["seconds"] for line in lines])),
        "flags": " ".join(job.arguments),
        "current": selection.current,
        "commits": sorted({line["git_commit"][:10] for line in lines}),
    }
    if intervals:
        _, low, high = mean_interval(scores[:, None])
        summary[INTERVAL] = rounded([low, high])
    return summary


def _surrogates(time_limits: str, intervals: bool) -> Summary:
    """Table 1 of the PPO paper: the seeds that are complete, and the score of each objective."""
    name, _ = surrogates.TIME_LIMITS[time_limits]
    seeds, tasks = (0, 1, 2), surrogates.TASKS
    matrix = score_matrix(ResultFile(name).lines, list(surrogates.SETTINGS), tasks, seeds, STEPS)
    complete = [seed for seed in seeds if matrix.is_complete(seed)]
    scores = normalised(matrix.select(complete), random_scores(tasks))
    summary = {
        "seeds": complete,
        "tasks": len(tasks),
        "scores": {setting: rounded(of_setting.mean()) for setting, of_setting in scores.items()},
    }
    if intervals and len(complete) > 1:
        best = max(scores, key=lambda setting: scores[setting].mean())
        others = [setting for setting in scores if setting != best]
        summary[INTERVAL] = {one: rounded(difference_interval(scores[best], scores[one])[1:]) for one in others}
    return summary


def _algorithms() -> Summary:
    """{task: {algorithm: mean return}} of the tasks that every algorithm has finished with every seed."""
    seeds = (0, 1, 2)
    lines, settings = algorithms.finished(algorithms.TASKS, seeds, STEPS)
    matrix = score_matrix(lines, settings, algorithms.TASKS, seeds, STEPS).scores
    complete = [
        (i, env)
        for i, env in enumerate(algorithms.TASKS)
        if not any(np.isnan(scores[:, i]).any() for scores in matrix.values())
    ]
    return {
        "seeds": list(seeds),
        "tasks": {env: {name: rounded(matrix[name][:, i].mean()) for name in settings} for i, env in complete},
    }


def rounded(values: Any) -> Any:
    """A number or numbers with six decimals, as JSON holds them: equal on every processor, and enough to round again."""
    if isinstance(values, (Sequence, np.ndarray)):
        return [rounded(value) for value in values]
    return round(float(values), 6)


def without_intervals(summary: Any) -> Any:
    """A summary without its confidence intervals."""
    if isinstance(summary, dict):
        return {name: without_intervals(value) for name, value in summary.items() if name != INTERVAL}
    return summary


def read() -> Summary:
    """The committed summary."""
    return json.loads((paths.RESULTS / NAME).read_text(encoding="utf-8"))


def write(summary: Summary) -> None:
    """Write the summary, one line for each part."""
    parts = {name: json.dumps(part) for name, part in summary.items()}
    text = ",\n".join(f' "{name}": {part}' for name, part in parts.items())
    (paths.RESULTS / NAME).write_text(f"{{\n{text}\n}}\n", encoding="utf-8")
