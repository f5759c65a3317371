"""Table of the finished trainings of one group of final_policies.py: scores of the final policies, references and notes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.markdown import markdown_table
from benchmarks.returns.result_files import Line, TrainingJob
from benchmarks.returns.scores import TARGETS, interquartile_interval, mean_interval, relative_to_targets, summarise

MIN_RATIO = 0.9  # of the mean of one rank, for several ranks
FAILED_NOTE = "failed: seeds whose final policy scores less than half of the task's target (0 is the score of an untrained policy)."
LEVEL = "References: the mean of our seeds is above or below, or level: its 95 % interval includes the reference."
COLLAPSED = (
    "collapsed: seeds whose final policy lost more than half of the improvement of its training, which is measured from "
    "the first to the highest point of the learning curve."
)


@dataclass(frozen=True)
class Group:
    """Tasks of one table.

    Attributes:
        tasks: {id: two reference returns}; None where there is no reference.
        reference_names: column headers of the references; empty: no column.
        links: {id: addresses of the sources of the references}.
        seeds: default seeds.
        ranks: of each training.
        steps: of each training, or by task.
        preset: of each training; None: the automatic choice of run.py.
        overrides: {id: {setting: value}}, task-specific settings.
    """

    tasks: dict[str, tuple[float | None, float | None]]
    reference_names: tuple[str, str] = ("", "")
    links: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    ranks: int = 1
    steps: int | dict[str, int] = 1_000_000
    preset: str | None = None
    overrides: dict[str, dict[str, str]] | None = None

    def steps_of(self, env: str) -> int:
        """Environment steps of a task."""
        return self.steps.get(env, 1_000_000) if isinstance(self.steps, dict) else self.steps


def policy_score(line: Line) -> float:
    """Mean deterministic return of a final policy; of the last 100 training episodes if it was not evaluated."""
    return float(np.mean(line["deterministic"])) if line.get("deterministic") else line["score"]


def has_collapsed(line: Line) -> bool:
    """Whether a final policy lost more than half of the improvement of its training: see `COLLAPSED`."""
    means = [mean for _, mean in line["curve"]]
    return bool(means) and policy_score(line) < (means[0] + max(means)) / 2


def format_mean_std(values: Sequence[float]) -> str:
    """Mean and sample standard deviation as text."""
    return f"{np.mean(values):,.1f}" + (f" ± {np.std(values, ddof=1):,.1f}" if len(values) > 1 else "")


def format_distribution(values: Sequence[float]) -> str:
    """Mean, median and lowest value as text; a single value alone."""
    if len(values) == 1:
        return f"{values[0]:,.1f}"
    return f"{np.mean(values):,.1f} (median {np.median(values):,.1f}, lowest {min(values):,.1f})"


def format_failed(env: str, scores: Sequence[float]) -> str:
    """The fraction of failed trainings: below half of the task's target, relative to an untrained policy."""
    if env not in TARGETS:
        return ""
    relative = relative_to_targets({(env, i): score for i, score in enumerate(scores)})
    return f"{summarise(relative).failed:.0%}"


def format_interquartile(values: Sequence[float]) -> str:
    """The interquartile mean and its interval as text; a single seed has no interval."""
    middle, low, high = interquartile_interval(np.array(values))
    return f"{middle:,.1f}" + ("" if np.isnan(low) else f" ({low:,.1f} to {high:,.1f})")


def compare_with_reference(values: Sequence[float], reference: float | None, link: str = "") -> str:
    """A reference with a link to its source, and whether the mean of the values is above it, below it, or level with it.

    Level: the 95 % bootstrap interval of the mean includes the reference. A single seed has no interval.
    """
    if reference is None:
        return ""
    shown = f"[{reference:,}]({link})" if link else f"{reference:,}"
    _, low, high = mean_interval(np.array(values)[:, None])
    if np.isnan(low):
        return f"{shown} (one seed)"
    return f"{shown} {'above' if low > reference else 'below' if high < reference else 'level'}"


def ratio_to_one_rank(value: float, lines: Sequence[Line]) -> str:
    """The mean of several ranks relative to that of one rank, as text."""
    if not lines:
        return "one rank has not finished"
    one_rank = np.mean([policy_score(line) for line in lines])
    return f"{value / one_rank:.2f} of {one_rank:,.1f} {'reached' if value >= MIN_RATIO * one_rank else 'missed'}"


def task_row(group: Group, env: str, lines: Sequence[Line], one_rank_lines: Sequence[Line]) -> dict[str, str]:
    """{column: text} of one task."""
    evaluated = [line for line in lines if line.get("deterministic")]
    scores = [policy_score(line) for line in evaluated]
    value = float(np.mean([policy_score(line) for line in lines]))
    stochastic = f"{np.mean([line['stochastic'] for line in evaluated]):,.1f}" if evaluated else ""
    cells = {
        "task": env,
        "seeds": str(len(lines)),
        "100 deterministic episodes, mean ± standard deviation over seeds": format_mean_std(scores) if scores else "",
        "median": f"{np.median(scores):,.1f}" if scores else "",
        "lowest": f"{min(scores):,.1f}" if scores else "",
        "failed": format_failed(env, scores) if scores else "",
        "interquartile mean (95 % interval)": format_interquartile(scores) if scores else "",
        "100 stochastic": stochastic,
        "last 100 of training": format_distribution([line["score"] for line in lines]),
    }
    links = group.links.get(env, ("", ""))
    for name, reference, link in zip(group.reference_names, group.tasks.get(env, (None, None)), links):
        if name:
            cells[name] = compare_with_reference([policy_score(line) for line in lines], reference, link)
    if group.ranks > 1:
        of_task = [line for line in one_rank_lines if line["env"] == env]
        cells[f"relative to one rank ({MIN_RATIO:g} or more)"] = ratio_to_one_rank(value, of_task)
    if isinstance(group.steps, dict):
        cells["steps"] = f"{lines[0]['steps']:,}"
        cells["episode length"] = f"{np.mean([line['length'] for line in lines]):,.0f}"
    seeds = [str(line["seed"]) for line in lines if has_collapsed(line)]
    cells["collapsed"] = f"seed {', '.join(seeds)}" if seeds else "none"
    cells["seconds"] = f"{np.median([line['seconds'] for line in lines]):,.0f}"
    return cells


def format_group(
    group: Group, results: Sequence[tuple[TrainingJob, Line]], one_rank_lines: Sequence[Line], num_outdated: int
) -> str:
    """The table of a group, followed by its notes.

    Args:
        group: tasks and references.
        results: jobs with their result lines.
        one_rank_lines: results of the same tasks with one rank.
        num_outdated: number of lines left out because they have other settings.
    """
    rows = [
        task_row(group, env, [line for job, line in results if job.env == env], one_rank_lines)
        for env in dict.fromkeys(job.env for job, _ in results)
    ]
    steps = sorted({job.steps for job, _ in results})
    overrides = {job.env: " ".join(job.arguments) for job, _ in results if not group.preset and job.arguments}
    notes = [COLLAPSED]
    if any(row["failed"] for row in rows):
        notes.insert(0, FAILED_NOTE)
    if any(group.reference_names):
        notes.insert(0, LEVEL)
    if one_rank_lines:
        notes.append(f"One rank: {one_rank_lines[0]['setting']}, {one_rank_lines[0]['steps']:,} steps.")
    if overrides:
        notes.append(f"Task-specific settings: {'; '.join(f'{env} `{text}`' for env, text in overrides.items())}.")
    notes.append(_commit_note(Counter(line["git_commit"] for _, line in results)))
    if num_outdated:
        notes.append(f"Left out: {num_outdated} runs whose settings differ from the current ones.")
    title = f"{results[0][0].setting}, {' or '.join(f'{one:,}' for one in steps)} steps"
    return "\n\n".join([title, markdown_table(tuple(rows[0]), [tuple(row.values()) for row in rows]), *notes]) + "\n"


def _commit_note(commits: Counter[str]) -> str:
    runs = ", ".join(f"{commit[:10]}{commit[40:]} ({count} runs)" for commit, count in commits.items())
    uncommitted = "; + means uncommitted changes" if any(commit.endswith("+") for commit in commits) else ""
    return f"Commit{'s' if len(commits) > 1 else ''}: {runs}{uncommitted}."
