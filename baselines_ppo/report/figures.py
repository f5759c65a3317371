"""The report's figures as SVG, in a light and a dark theme. Text remains text."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from common.formatting import format_number
from common.runs.results import COLUMNS, RunResults

WINDOW = 100  # episodes of the running mean and of the final return, equal to that of EpRewMean
DOTS, POINTS = 10_000, 1_000  # maximum numbers to draw; more are not visible
THEME_COLORS = {"light": "#1d2329", "dark": "#d8dee4"}  # equal to --ink in report.html.j2
BLUE, ORANGE = "#2b84c6", "#d5701a"  # readable in both themes
# Matplotlib's settings: lines and text of one colour, which is replaced in the SVG; text remains text
RC_PARAMS = dict.fromkeys(
    ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"),
    THEME_COLORS["light"],
) | {"font.size": 10, "svg.fonttype": "none"}
# column of progress.csv -> title of its panel; other columns follow, titled with their names
PANELS = {
    "loss_kl": "KL(old policy ‖ new policy)",
    "clipfrac": "Clip fraction",
    "loss_ent": "Entropy",
    "ev_tdlam_before": "Explained variance",
    "loss_vf_loss": "Value loss",
    "loss_pol_surr": "Surrogate loss",
    "loss_pol_entpen": "Entropy penalty",
    "beta": "beta of the KL penalty",
    "stepsize": "Step size",
    "EpLenMean": "Episode length",
}
NO_PANEL = {name for names in COLUMNS.values() for name in names} | {"EpThisIter"}


def new_figure(width: float, height: float, margins: Mapping[str, float] | None = None) -> tuple[Any, Any]:
    """Return a Matplotlib figure and its axes. Matplotlib's settings must be `RC_PARAMS`.

    Args:
        width, height: in inches.
        margins: {left, right, bottom, top} as fractions; None computes them from the labels, which takes twice as long.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, MaxNLocator

    figure = Figure(figsize=(width, height), layout=None if margins else "constrained")
    ax = figure.subplots(gridspec_kw=margins)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.15)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    return figure, ax


def data_uri(kind: str, data: bytes) -> str:
    """Return an image as a data: URI; `kind` is its MIME subtype."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def themed_svgs(figure: Any) -> dict[str, str]:
    """Return {"light", "dark": data: URI} of a figure, which is drawn once; its colour is replaced."""
    file = io.StringIO()
    figure.savefig(
        file,
        format="svg",
        transparent=True,
        dpi=150,
        metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
    )
    svg = file.getvalue()
    return {
        mode: data_uri("svg+xml", svg.replace(THEME_COLORS["light"], ink).encode())
        for mode, ink in THEME_COLORS.items()
    }


def subsample(limit: int, *arrays: np.ndarray) -> list[np.ndarray]:
    """Return at most `limit` evenly spaced entries of each array [N]."""
    keep = np.linspace(0, len(arrays[0]) - 1, min(limit, len(arrays[0]))).astype(int)
    return [x[keep] for x in arrays]


def curve_figure(run: RunResults, evaluations: Mapping[str, np.ndarray], size: tuple[float, float]) -> Any:
    """Draw the return against steps: episodes as dots, their running mean, and evaluations as marks."""
    figure, ax = new_figure(*size)
    curve = run.curve
    if curve is not None and "steps" in curve.axes:
        if not curve.is_moving_average:
            steps, returns = subsample(
                DOTS, curve.axes["steps"], np.where(np.isfinite(curve.returns), curve.returns, np.nan)
            )
            ax.plot(
                steps,
                returns,
                "o",
                color=BLUE,
                alpha=0.5 if len(steps) < DOTS / 10 else 0.3,
                markersize=2.6,
                markeredgewidth=0,
                rasterized=True,
                label="episodes",
            )
        steps, means = subsample(POINTS, *curve.points("steps", WINDOW))
        ax.plot(
            steps,
            means,
            color=BLUE,
            linewidth=1.8,
            marker="o" if len(steps) == 1 else None,
            label=f"mean of {WINDOW} episodes",
        )
    else:
        ax.text(0.5, 0.5, "no finished episode yet", transform=ax.transAxes, ha="center")
    if evaluations:
        ax.plot(
            evaluations["TimestepsSoFar"],
            evaluations["EvalRewMean"],
            "D",
            color=ORANGE,
            markersize=4.5,
            label="evaluations",
        )
    ax.set(xlabel="steps", ylabel="return")
    if ax.get_legend_handles_labels()[0]:
        figure.legend(loc="outside upper left", ncols=3 if size[0] > 5 else 2, frameon=False, fontsize=9, borderpad=0)
    return figure


def panel(title: str, steps: np.ndarray, values: np.ndarray) -> dict[str, str]:
    """Return a small figure of one column of progress.csv: title, alt text, images."""
    figure, ax = new_figure(3.5, 1.9, {"left": 0.18, "right": 0.98, "bottom": 0.14, "top": 0.88})
    ax.ticklabel_format(axis="y", scilimits=(-3, 5), useOffset=False)  # labels fit into the margin
    known = np.isfinite(steps) & np.isfinite(values)
    steps, values = subsample(POINTS, steps[known], values[known])
    ax.plot(steps, values, color=BLUE, linewidth=1.3, marker="o" if len(steps) == 1 else None)
    if title == PANELS["ev_tdlam_before"] and values.min() < -1:
        ax.set_ylim(-1.05, 1.05)  # early value functions are worse than a constant by orders of magnitude
        title += ", truncated at -1"
    return {
        "title": title,
        "alt": f"{title} against steps: from {format_number(float(values[0]))} to {format_number(float(values[-1]))}",
        **themed_svgs(figure),
    }


def panels(run: RunResults) -> list[dict[str, str]]:
    """Return the panels of all columns of progress.csv with a finite value other than 0."""
    steps = run.column("steps")
    if steps is None:
        return []
    names = [
        *(name for name in PANELS if name in run.rows),
        *(name for name in run.rows if name not in PANELS and name not in NO_PANEL),
    ]
    return [
        panel(PANELS.get(name, name), steps, run.rows[name])
        for name in names
        if np.any((run.rows[name] != 0) & np.isfinite(run.rows[name]) & np.isfinite(steps))
    ]
