"""`python -m baselines_ppo.plot`: compares runs in a figure, a table of final returns, and significance tests.

    python -m baselines_ppo.plot runs/Hopper-v4                        every run below, grouped by differing settings
    python -m baselines_ppo.plot runs/a runs/b --group clip_param --x time --out x.pdf

Log directories of Baselines and Stable-Baselines3 are read too. It needs no display, and does not import TensorFlow.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from baselines_ppo.cli.errors import run_command
from baselines_ppo.cli.options import Parser, int_argument, path_argument
from baselines_ppo.plot.figure import draw
from baselines_ppo.plot.grouping import group_runs, load
from baselines_ppo.plot.significance import compare
from baselines_ppo.plot.table import print_table
from common.errors import UserError
from common.storage.paths import writable_file

SUFFIXES = (".png", ".pdf", ".svg")


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        prog="python -m baselines_ppo.plot",
        description="Compare runs: curves, final returns, and which differences are statistically significant. Reads "
        "run directories, log directories of Baselines and Stable-Baselines3, and single Monitor or progress files.",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        type=path_argument,
        help="a run directory, a directory that contains some at any depth, or one file",
    )
    parser.add_argument(
        "--group",
        metavar="KEY",
        help="the setting, as in config.json, that defines the groups; the runs of a group are the seeds of one curve "
        "[default: the settings that differ; without config.json: the directory's name]",
    )
    parser.add_argument(
        "--x", choices=("steps", "time", "episodes"), default="steps", help="the horizontal axis [default: steps]"
    )
    parser.add_argument(
        "--out",
        type=path_argument,
        default=Path("comparison.png"),
        help="the figure: .png, .pdf or .svg [default: comparison.png]",
    )
    parser.add_argument("--window", type=int_argument, default=100, help="episodes of the running mean [default: 100]")
    parser.add_argument(
        "--final",
        type=int_argument,
        default=100,
        help="a final return is the mean of as many last episodes [default: 100]",
    )
    parser.add_argument("--title", help="title of the figure [default: none]")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of the table [default: the table]"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status, 2 for invalid arguments."""
    return run_command(lambda: plot(argv), "baselines_ppo.plot")


def plot(argv: Sequence[str] | None) -> None:
    """Draw the figure, and print the comparison."""
    args = make_parser().parse_args(argv)
    for name in ("window", "final"):
        if getattr(args, name) < 1:
            raise UserError(f"invalid --{name} {getattr(args, name)}: must be at least 1 episode")
    if args.out.suffix.lower() not in SUFFIXES:
        raise UserError(f"invalid --out {args.out}: must end in {', '.join(SUFFIXES)}")
    writable_file(args.out, "--out")
    environments, notes = load(args.paths)
    groups = group_runs(environments, args.group)
    found = compare(groups, args.final)
    notes += draw(groups, args.out, args.x, args.window, args.title)
    runs = [run for several in groups.values() for group in several.values() for run in group]
    notes += [
        f"{run.path} has no Monitor files: its returns are the means in progress.csv"
        for run in runs
        if run.curve is not None and run.curve.is_moving_average
    ]
    if args.json:
        print(json.dumps(found | {"figure": str(args.out), "notes": notes}))
        return
    for note in notes:
        print(note, file=sys.stderr)
    print_table(found, sys.stdout)
    print(f"figure: {args.out}")
