"""The figure of a comparison: a panel for each environment, a curve for each group of runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baselines_ppo.plot.significance import ALPHA
from common.formatting import format_number
from common.runs.results import RunResults
from common.storage.write_errors import user_error_on_os_error

OKABE_ITO = (  # distinguishable with any colour vision; yellow is left out
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)
LINE_STYLES = ("-", "--", ":", "-.")
GRID_POINTS, RESAMPLES = 300, 2000
EARLY_END_FRACTION = 0.9  # a curve that ends earlier than this fraction of its longest run gets a note

Groups = Mapping[str, Mapping[str, Sequence[RunResults]]]  # {environment: {group: [runs]}}


def bootstrap_band(curves: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the bootstrapped 95 % interval of the mean over seeds.

    Args:
        curves: [seeds, points].
        rng: draws the resamples.

    Returns:
        [2, points], the lower and the upper bound.
    """
    weights = rng.multinomial(len(curves), [1 / len(curves)] * len(curves), size=RESAMPLES) / len(curves)
    return np.percentile(weights @ curves, [100 * ALPHA / 2, 100 * (1 - ALPHA / 2)], axis=0)


def on_common_grid(runs: Sequence[RunResults], x: str, window: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Interpolate the runs of a group where all of them have a value.

    Args:
        runs: the group, each with a curve.
        x: "steps", "time" or "episodes".
        window: episodes of the running mean.

    Returns:
        (grid [points], mean returns [seeds, points], the x at which the longest run ends).
    """
    points = [run.curve.points(x, window) for run in runs if run.curve is not None]
    start, end = max(xs[0] for xs, _ in points), min(xs[-1] for xs, _ in points)
    grid = np.linspace(start, end, GRID_POINTS) if end > start else np.array([end])
    return grid, np.stack([np.interp(grid, xs, ys) for xs, ys in points]), max(xs[-1] for xs, _ in points)


def time_unit(seconds: float) -> tuple[str, int]:
    """Return (name, seconds of it) of a readable unit for a duration."""
    if seconds > 7200:
        return "hours", 3600
    return ("minutes", 60) if seconds > 600 else ("seconds", 1)


def line_styles(groups: Groups) -> dict[str, dict[str, str]]:
    """Return {group: colour and line style}, the same in every panel."""
    names = sorted({name for several in groups.values() for name in several})
    count = len(OKABE_ITO)
    return {
        name: {"color": OKABE_ITO[i % count], "linestyle": LINE_STYLES[i // count % len(LINE_STYLES)]}
        for i, name in enumerate(names)
    }


def draw(groups: Groups, path: Path, x: str = "steps", window: int = 100, title: str | None = None) -> list[str]:
    """Write the figure.

    Args:
        groups: {environment: {group: [runs]}}.
        path: a .png, .pdf or .svg file.
        x: "steps", "time" or "episodes".
        window: episodes of the running mean.
        title: of the figure.

    Returns:
        Notes on curves that end before their longest run does.

    Raises:
        UserError: if the file cannot be written.
    """
    # its first start reports that it builds the cache of fonts
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.figure import Figure

    columns = min(len(groups), 3)
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(2.2 + 4.6 * columns, 0.6 + 3.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    styles, rng = line_styles(groups), np.random.default_rng(0)
    notes: list[str] = []
    for ax, (env, several) in zip(axes.flat, groups.items()):
        curves = {name: on_common_grid(runs, x, window) for name, runs in several.items()}
        notes += draw_panel(ax, env, curves, x, window, styles, rng)
    for ax in axes.flat[len(groups) :]:
        ax.set_axis_off()
    if title:
        figure.suptitle(title)
    with user_error_on_os_error(f"--out {path}", "choose another"):
        figure.savefig(path, dpi=150)
    return notes


def draw_panel(
    ax: Any,
    env: str,
    curves: Mapping[str, tuple[np.ndarray, np.ndarray, float]],
    x: str,
    window: int,
    styles: Mapping[str, Mapping[str, str]],
    rng: np.random.Generator,
) -> list[str]:
    """Draw the curves of one environment; return notes on those that end early.

    Args:
        ax: Matplotlib's axes.
        env: name of the environment.
        curves: {group: the result of `on_common_grid`}.
        x, window: as for `draw`.
        styles: {group: colour and line style}.
        rng: for the bootstrap.
    """
    from matplotlib.ticker import EngFormatter

    notes = []
    unit, scale = time_unit(max(grid[-1] for grid, _, _ in curves.values())) if x == "time" else (x, 1)
    for name, (grid, returns, longest) in curves.items():
        label = f"{name} ({len(returns)} seed{'s' if len(returns) > 1 else ''})"
        marker = "o" if len(grid) == 1 else None
        ax.plot(grid / scale, returns.mean(axis=0), label=label, linewidth=1.6, marker=marker, **styles[name])
        if len(returns) > 1:
            low, high = bootstrap_band(returns, rng)
            ax.fill_between(grid / scale, low, high, color=styles[name]["color"], alpha=0.2, linewidth=0)
        if grid[-1] < EARLY_END_FRACTION * longest:
            notes.append(
                f"{env}, {name}: the curve ends at {format_number(grid[-1])} {x}, with its shortest run; the "
                f"longest run has {format_number(longest)}"
            )
    ax.set(title=env, xlabel=f"time, {unit}" if x == "time" else x, ylabel=f"return, mean of {window} episodes")
    if x != "time":
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize="small")
    return notes
