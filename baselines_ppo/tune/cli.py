"""The command line of a search: its own options, and the settings of run.py, which all trials have."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from baselines_ppo.cli.options import Parser, add_setting, int_argument, normalize_flags, path_argument
from baselines_ppo.config.registry import NOT_SWEEPABLE, SETTINGS, SETTINGS_BY_GROUP
from baselines_ppo.config.setting_fields import GROUPS
from common.errors import UserError

PROG = "baselines_ppo.tune"
PRUNERS = ("median", "none")
MAX_TRIALS = 10_000
MAX_SEED = 10**6
# (option, smallest value, largest value)
COUNTS = (
    ("trials", 1, MAX_TRIALS),
    ("seeds", 1, 1000),
    ("jobs", 1, 10_000),
    ("ranks", 1, 10_000),
    ("seed", 0, MAX_SEED),
    ("fresh_seeds", 0, 1000),
)
USAGE = (
    "python -m baselines_ppo.tune --env ID [--trials N] [--seeds N] [--storage FILE] [--search NAME[=VALUES] ...] "
    "[--SETTING VALUE] ... [--jobs N]"
)


def parse(argv: Sequence[str]) -> tuple[dict[str, Any], argparse.Namespace]:
    """Parse the command line of a search.

    Returns:
        ({setting: value} of the settings that are given, the search's own options).

    Raises:
        UserError: with one line, if the command line is invalid.
    """
    words = normalize_flags(argv)
    for flag in (word.split("=")[0] for word in words if word.startswith("--")):
        if flag[2:].replace("-", "_") in NOT_SWEEPABLE:
            raise UserError(f"{flag}: a search names the directories of its runs, and they are quiet; leave it out")
    args = tune_parser().parse_args(words)
    for name, lowest, highest in COUNTS:
        value = getattr(args, name)
        if value is not None and not lowest <= value <= highest:
            limit = f"at least {lowest}" if value < lowest else f"at most {highest:,}"
            raise UserError(f"invalid --{name.replace('_', '-')}={value}: must be {limit}")
    if args.fresh_seeds == 1:
        raise UserError("invalid --fresh-seeds=1: must be at least 2 for an interval, or 0 for no check")
    return {name: value for name, value in vars(args).items() if name in SETTINGS and name != "seed"}, args


def tune_parser() -> Parser:
    """Return a parser for the options of a search and for every setting of run.py."""
    parser = Parser(
        prog=PROG,
        usage=USAGE,
        description="Search for settings with a high return. One trial trains one set of settings with several seeds.",
        epilog="Settings of run.py that are given hold for all trials. A search that was killed continues with the "
        "same command.",
    )
    own = parser.add_argument_group("Search")
    add_search_options(parser, own)
    for group, title in GROUPS.items():
        options = parser.add_argument_group(title)
        for setting in SETTINGS_BY_GROUP[group]:
            if setting.info.not_swept is None and setting.name != "seed":
                add_setting(parser, options, setting)
    return parser


def add_search_options(parser: Parser, own: Any) -> None:
    """Add the options of the search itself to the argument group `own`."""

    def count(flag: str, default: int | None, text: str) -> None:
        parser.add_option(own, flag, type=int_argument, metavar="N", default=default, help=text)

    count("--trials", 50, "number of trials, those of earlier commands included [default: 50]")
    count("--seeds", 3, "seeds of one trial, whose mean return is its score [default: 3]")
    parser.add_option(
        own,
        "--search",
        nargs="+",
        metavar="NAME[=VALUES]",
        help="the settings to search: NAME with its usual values, NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A,B,C "
        "[default: those of the algorithm]",
    )
    parser.add_option(
        own,
        "--storage",
        metavar="FILE",
        help="SQLite file of the trials, or an address as Optuna takes it; that of an earlier search continues it "
        "[default: tune-ENV-TIME.db in $BASELINES_PPO_RUNS, or in runs]",
    )
    parser.add_option(own, "--study", metavar="NAME", default="tune", help="name in the storage [default: tune]")
    parser.add_option(
        own,
        "--tune-dir",
        metavar="DIR",
        type=path_argument,
        help="directory of the trainings and the results [default: the storage file without its suffix]",
    )
    count("--jobs", None, "number of trainings at the same time [default: cores / --ranks]")
    count("--ranks", 1, "ranks of each training, started by mpirun [default: 1]")
    count("--seed", 0, "seed of the search; the seeds of a trial start here, fresh ones 1,000,000 above [default: 0]")
    count("--fresh-seeds", 5, "seeds for the final check against the preset; 0: no check [default: 5]")
    parser.add_option(
        own,
        "--prune",
        choices=PRUNERS,
        default="median",
        help="when a trial is stopped early: median = its best return so far is below the median of the finished "
        "trials at the same point [default: median]",
    )
    parser.add_option(
        own,
        "--config",
        metavar="FILE",
        type=path_argument,
        help="take settings for all trials from a run's config.json, or from a JSON object of settings; explicit "
        "flags have precedence [default: none]",
    )
    parser.add_option(
        own, "--dry-run", action="store_true", help="print the search space and the settings and exit [default: off]"
    )
