"""Comparing runs: a figure of their curves, a table of their final returns, and which differences are more than chance.

    python -m baselines_ppo.plot runs/Hopper-v4                          every run below, grouped by the settings that differ
    python -m baselines_ppo.plot runs/a runs/b --group clip_param --x time --out comparison.pdf

Runs of one group are the seeds of one curve. Baselines' and Stable-Baselines3's folders stand beside our own. Draws without a display, and does not
import TensorFlow.
"""

import json
import logging
import sys
from pathlib import Path

import numpy as np

from baselines_ppo.cli.errors import run_command
from baselines_ppo.cli.options import Parser, int_argument, path_argument
from baselines_ppo.plot.grouping import LEVEL, compare, grouped, load
from common.errors import UserError
from common.formatting import format_number
from common.storage.paths import writable_file
from common.storage.write_errors import user_error_on_os_error

SUFFIXES = (".png", ".pdf", ".svg")
OKABE_ITO = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)  # told apart with any colour vision; yellow left out
STYLES = ("-", "--", ":", "-.")
GRID, RESAMPLES = 300, 2000


# ---- the figure


def bootstrap_band(curves, rng):
    """Bootstrapped 95 % interval [2, grid] of the mean over seeds of curves [seeds, grid]."""
    weights = rng.multinomial(len(curves), [1 / len(curves)] * len(curves), size=RESAMPLES) / len(curves)
    return np.percentile(weights @ curves, [100 * LEVEL / 2, 100 * (1 - LEVEL / 2)], axis=0)


def on_common_grid(runs, x, window):
    """(grid [G], mean returns [seeds, G]) where all runs of a group have a value, and the x at which the longest ends."""
    points = [run.curve.points(x, window) for run in runs]
    start, end = max(xs[0] for xs, _ in points), min(xs[-1] for xs, _ in points)
    grid = np.linspace(start, end, GRID) if end > start else np.array([end])
    return grid, np.stack([np.interp(grid, xs, ys) for xs, ys in points]), max(xs[-1] for xs, _ in points)


def time_unit(seconds):
    """(name, seconds in it) of the unit in which a duration is easily read."""
    return ("hours", 3600) if seconds > 7200 else ("minutes", 60) if seconds > 600 else ("seconds", 1)


def draw(groups, path, x="steps", window=100, title=None):
    """Write the figure: a panel for each environment, a curve for each group.

    Args:
        groups: {environment: {group: [runs]}}.
        path: a .png, .pdf or .svg file.
        x: "steps", "time" or "episodes".
        window: episodes of the running mean.
        title: over the figure.

    Returns:
        Lines on curves that end before their longest run does.
    """
    logging.getLogger("matplotlib").setLevel(
        logging.ERROR
    )  # or its first start tells that it looks for fonts, and where there is no cache
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    columns = min(len(groups), 3)
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(2.2 + 4.6 * columns, 0.6 + 3.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    names = sorted({name for several in groups.values() for name in several})
    looks = {
        name: {"color": OKABE_ITO[i % len(OKABE_ITO)], "linestyle": STYLES[i // len(OKABE_ITO) % len(STYLES)]}
        for i, name in enumerate(names)
    }
    rng, notes = np.random.default_rng(0), []
    for ax, (env, several) in zip(axes.flat, groups.items()):
        curves = {name: on_common_grid(runs, x, window) for name, runs in several.items()}
        unit, scale = time_unit(max(grid[-1] for grid, _, _ in curves.values())) if x == "time" else (x, 1)
        for name, (grid, returns, longest) in curves.items():
            seeds = f"{len(returns)} seed{'s' if len(returns) > 1 else ''}"
            ax.plot(
                grid / scale,
                returns.mean(axis=0),
                label=f"{name} ({seeds})",
                linewidth=1.6,
                marker="o" if len(grid) == 1 else None,
                **looks[name],
            )
            if len(returns) > 1:
                ax.fill_between(
                    grid / scale, *bootstrap_band(returns, rng), color=looks[name]["color"], alpha=0.2, linewidth=0
                )
            if grid[-1] < 0.9 * longest:
                notes.append(
                    f"{env}, {name}: the curve ends at {format_number(grid[-1])} {x}, where its shortest run does; the longest has {format_number(longest)}"
                )
        ax.set(title=env, xlabel=f"time, {unit}" if x == "time" else x, ylabel=f"return, mean of {window} episodes")
        if x != "time":
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize="small")
    for ax in axes.flat[len(groups) :]:
        ax.set_axis_off()
    if title:
        figure.suptitle(title)
    with user_error_on_os_error(f"--out {path}", "choose another"):
        figure.savefig(path, dpi=150)
    return notes


# ---- the terminal


def show(found, stream):
    """Print what `compare` found."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream, highlight=False, markup=False, width=None if stream.isatty() else 160)
    table = Table(
        title=f"final return: mean of the last {found['final_episodes']} episodes",
        title_justify="left",
        caption="deviation and 95 % interval (Student's) are over seeds",
        caption_justify="left",
    )
    for heading in ("environment", "group"):
        table.add_column(heading, overflow="fold")
    for heading in ("seeds", "mean ± deviation", "95 % interval", "best"):
        table.add_column(heading, justify="right")
    for env, one in found["environments"].items():
        for name, x in one["groups"].items():
            deviation = f" ± {format_number(x['deviation'])}" if x["deviation"] is not None else ""
            interval = (
                f"{format_number(x['interval'][0])} to {format_number(x['interval'][1])}" if x["interval"] else "-"
            )
            table.add_row(
                Text(env),
                Text(name),
                str(x["seeds"]),
                format_number(x["mean"]) + deviation,
                interval,
                format_number(x["best"]),
            )
        table.add_section()
    console.print(table)
    for env, one in found["environments"].items():
        for pair in one["comparisons"]:
            console.print(f"{env}: {pair['statement']}", soft_wrap=True)
        if one["untested"]:
            console.print(
                f"{env}: it takes at least two seeds each to tell groups apart; one seed: {'; '.join(one['untested'])}",
                soft_wrap=True,
            )
        for caution in one["cautions"]:
            console.print(f"{env}: {caution}", soft_wrap=True)
    if found["correction"]:
        console.print(
            f"told apart at p < {LEVEL} after correction ({found['correction']}); each interval is of its own pair alone",
            soft_wrap=True,
        )


def parser():
    """The command line's."""
    made = Parser(
        prog="baselines_ppo.plot",
        description="Compare runs: curves, final returns, and which differences are more than "
        "chance. Reads run folders, Baselines' and Stable-Baselines3's log folders, and single Monitor or progress files.",
    )
    made.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        type=path_argument,
        help="a run folder, a folder that holds some at any depth, or one file",
    )
    made.add_argument(
        "--group",
        metavar="KEY",
        help="the setting, as in config.json, that makes the groups, whose runs are the seeds of one curve "
        "[the settings that differ; without config.json: the folder's name]",
    )
    made.add_argument("--x", choices=("steps", "time", "episodes"), default="steps", help="the horizontal axis [steps]")
    made.add_argument(
        "--out", type=path_argument, default=Path("comparison.png"), help="the figure: .png, .pdf or .svg [comparison.png]"
    )
    made.add_argument("--window", type=int_argument, default=100, help="episodes of the running mean [100]")
    made.add_argument("--final", type=int_argument, default=100, help="episodes that a final return is the mean of [100]")
    made.add_argument("--title", help="over the figure")
    made.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    return made


def main(argv=None):
    """`python -m baselines_ppo.plot`: returns the exit status; 2 is a mistake in what was asked for."""
    return run_command(lambda: plot(argv), "baselines_ppo.plot")


def plot(argv):
    """Draw the figure, and print the comparison."""
    args = parser().parse_args(argv)
    for name in ("window", "final"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name} {getattr(args, name)}; give at least 1 episode")
    if args.out.suffix.lower() not in SUFFIXES:
        raise UserError(f"--out {args.out}: a figure is one of {', '.join(SUFFIXES)}; name it so")
    writable_file(args.out, "--out")
    environments, notes = load(args.paths)
    groups = grouped(environments, args.group)
    found = compare(groups, args.final)
    notes += draw(groups, args.out, args.x, args.window, args.title)
    notes += [
        f"{run.path}: without Monitor files returns are the means of its progress.csv"
        for several in groups.values()
        for runs in several.values()
        for run in runs
        if run.curve.is_moving_average
    ]
    if args.json:
        print(json.dumps(found | {"figure": str(args.out), "notes": notes}))
    else:
        for note in notes:
            print(note, file=sys.stderr)
        show(found, sys.stdout)
        print(f"figure: {args.out}")
