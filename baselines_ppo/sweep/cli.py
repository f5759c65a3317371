"""The command line of a sweep: the settings of run.py, each with any number of values, and the sweep's own options."""

from __future__ import annotations

import argparse
import itertools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from baselines_ppo.cli.command_lines import format_value
from baselines_ppo.cli.options import (
    Parser,
    argument_type,
    int_argument,
    metavar,
    normalize_flags,
    path_argument,
    setting_help,
)
from baselines_ppo.config.converters import convert_setting
from baselines_ppo.config.registry import NOT_SWEEPABLE, SETTINGS, SETTINGS_BY_GROUP, Setting, flag_of
from baselines_ppo.config.setting_fields import GROUPS
from baselines_ppo.sweep.plan import MAX_RUNS, PROG
from common.errors import UserError
from common.validation import check_choice

RANGE = re.compile(r"(\d+)-(\d+)")
USAGE = (
    "python -m baselines_ppo.sweep --env ID [ID ...] [--seed 0-4] [--SETTING VALUE [VALUE ...]] ... [--jobs N] "
    "[--ranks N] [--sweep-dir DIR] [--config FILE] [--dry-run]"
)


def parse(argv: Sequence[str]) -> tuple[dict[str, list[Any]], argparse.Namespace]:
    """Parse the command line of a sweep.

    Returns:
        ({setting: [values]} in the order of the command line, the sweep's own options).

    Raises:
        UserError: with one line, if the command line is invalid.
    """
    words = normalize_flags(argv)
    for flag in (word.split("=")[0] for word in words if word.startswith("--")):
        if reason := NOT_SWEEPABLE.get(flag[2:].replace("-", "_")):
            raise UserError(f"{flag}: {reason}")
    args = sweep_parser().parse_args(words)
    for name in ("jobs", "ranks"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise UserError(f"invalid --{name}={value}: must be at least 1")
    values = {name: list(itertools.chain(*found)) or [True] for name, found in vars(args).items() if name in SETTINGS}
    for name, found in values.items():
        for text, times in Counter(map(format_value, found)).items():
            if times > 1:
                raise UserError(f"{flag_of(name)} has the value {text} twice; give every value once")
    return values, args


def sweep_parser() -> Parser:
    """Return a parser for the sweep's own options and for every setting of run.py with any number of values."""
    parser = Parser(
        prog=PROG,
        usage=USAGE,
        description="Train many runs: all combinations of the values. All combinations with the first seed run first, "
        "then those with the second seed, and so on.",
        epilog="Every setting takes one value or several; integers also take ranges, such as --seed 0-4.",
    )
    own = parser.add_argument_group("Sweep")
    parser.add_option(
        own, "--jobs", type=int_argument, metavar="N", help="number of runs at the same time [default: cores / --ranks]"
    )
    parser.add_option(
        own, "--ranks", type=int_argument, metavar="N", help="ranks of each run, started by mpirun [default: 1]"
    )
    parser.add_option(
        own,
        "--sweep-dir",
        metavar="DIR",
        type=path_argument,
        help="directory of the sweep; that of an earlier sweep resumes it, and extends it by further values "
        "[default: sweep-ENV-TIME in $BASELINES_PPO_RUNS, or in runs]",
    )
    parser.add_option(
        own, "--dry-run", action="store_true", help="print the command lines of the runs and exit [default: off]"
    )
    parser.add_option(
        own,
        "--config",
        metavar="FILE",
        type=path_argument,
        help="take settings from a run's config.json, or from a JSON object of settings; explicit flags have "
        "precedence [default: none]",
    )
    for group, title in GROUPS.items():
        options = parser.add_argument_group(title)
        for setting in SETTINGS_BY_GROUP[group]:
            if setting.info.not_swept is None:
                add_setting(parser, options, setting)
    return parser


def add_setting(parser: Parser, group: Any, setting: Setting) -> None:
    """Add the option of a setting, which takes any number of values and may be repeated."""
    choices = setting.info.choices
    parser.add_option(
        group,
        setting.flag,
        dest=setting.name,
        action="extend",
        nargs="*" if setting.type is bool else "+",
        type=argument_type(values_type(setting), setting.name),
        default=argparse.SUPPRESS,
        help=setting_help(setting),
        metavar=(f"{{{','.join(choices)}}}", "") if choices else metavar(setting),
    )


def values_type(setting: Setting) -> Callable[[str], list[Any]]:
    """Return a function from an argument to its list of values: one, or those of a range of integers.

    The function raises UserError for an invalid argument.
    """

    def parse_values(text: str) -> list[Any]:
        if setting.type is int and (found := RANGE.fullmatch(text)):
            low, high = map(int, found.groups())
            if not low <= high < low + MAX_RUNS:
                raise UserError(
                    f"invalid range {text!r}: must be LOW-HIGH with LOW at most HIGH, and at most {MAX_RUNS:,} numbers"
                )
            return list(range(low, high + 1))
        value = convert_setting(setting, text)
        if setting.info.choices:
            check_choice(setting.name, value, setting.info.choices)
        return [value]

    return parse_values
