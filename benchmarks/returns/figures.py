"""Figures of finished trainings, drawn to files by matplotlib."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from benchmarks.returns.result_files import Line
from benchmarks.returns.scores import Interval


def headless_pyplot() -> ModuleType:
    """matplotlib.pyplot with a backend that draws to files."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def bar_figure(path: Path, intervals: dict[str, Interval], reference: dict[str, float], label: str) -> None:
    """Draw horizontal bars with their intervals, and the published number of each as a marker."""
    pyplot = headless_pyplot()
    names = list(intervals)[::-1]
    mean, low, high = np.array([intervals[name] for name in names]).T
    figure, axes = pyplot.subplots(figsize=(7, 0.4 * len(names) + 1), layout="constrained")
    axes.barh(
        names,
        mean,
        xerr=np.nan_to_num([mean - low, high - mean]),
        color="#7aa6c2",
        capsize=3,
        label="here, 95 % interval",
    )
    axes.plot([reference[name] for name in names], names, "D", color="#b5483a", label="the paper")
    axes.set_xlabel(label)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def curve_figure(
    path: Path,
    lines: Iterable[Line],
    settings: Sequence[str],
    tasks: Sequence[str],
    level_label: str = "",
    levels: dict[str, float | None] | None = None,
) -> None:
    """Draw learning curves, one panel per task: the mean over seeds of the mean return of the last 100 episodes.

    The shaded band is the range of the seeds.

    Args:
        path: of the PNG file.
        lines: results of the trainings.
        settings: one curve each.
        tasks: one panel each.
        level_label: legend of the horizontal lines.
        levels: {task: return}, drawn as a dashed line.
    """
    pyplot = headless_pyplot()
    lines = list(lines)
    columns = min(4 if len(tasks) <= 8 else 5, len(tasks))
    rows = -(-len(tasks) // columns)
    size = (3.4 * columns, 2.8 * rows)
    figure, panels = pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for panel, env in zip(panels.flat, tasks):
        for setting in settings:
            of_setting = [line for line in lines if line["env"] == env and line["setting"] == setting]
            curves = [np.array(line["curve"]) for line in of_setting if line["curve"]]
            if curves:
                steps = np.linspace(max(c[0, 0] for c in curves), min(c[-1, 0] for c in curves), 100)
                values = np.array([np.interp(steps, c[:, 0], c[:, 1]) for c in curves])
                panel.plot(steps, values.mean(axis=0), label=setting)
                panel.fill_between(steps, values.min(axis=0), values.max(axis=0), alpha=0.2)
        level = (levels or {}).get(env)
        if level is not None:
            panel.axhline(level, color="black", linestyle="--", linewidth=0.8, label=level_label)
        panel.set_title(env, fontsize=10)
        panel.ticklabel_format(axis="x", scilimits=(6, 6))
    for panel in panels.flat[len(tasks) :]:
        panel.set_axis_off()
    panels.flat[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
