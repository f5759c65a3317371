"""The command line of a sweep: run.py's settings, each with any number of values, and the sweep's own options."""

import argparse
import itertools
import re
from collections import Counter
from dataclasses import fields
from typing import get_args

from baselines_ppo.cli.parser import (
    POLICY_SETTINGS,
    Parser,
    RunSettings,
    a_path,
    algorithm_fields,
    build_parser,
    count,
    normalised,
    setting_names,
)
from baselines_ppo.sweep.plan import MAX_RUNS, PROG, flag_of, format_value
from common.errors import UserError

RANGE = re.compile(r"(\d+)-(\d+)")
# settings that a sweep decides for its runs
TAKEN = {
    "run_dir": "a sweep names the folders of its runs itself; give --sweep-dir",
    "save_policy": "all runs would write that file; each has its own policy/policy.safetensors",
    "quiet": "the runs of a sweep are quiet anyway; leave it out",
    "log_interval": "the runs of a sweep are quiet; leave it out",
}
USAGE = (
    "python -m baselines_ppo.sweep --env ID [ID ...] [--seed 0-4] [--SETTING VALUE [VALUE ...]] ... [--jobs N] [--ranks N] [--sweep-dir DIR] "
    "[--config FILE] [--dry-run]"
)


def parse(argv):
    """({setting: [values]} in the order typed, the sweep's own options).

    Raises:
        UserError: one line on what is wrong.
    """
    words = normalised(argv)
    for flag in (word.split("=")[0] for word in words if word.startswith("--")):
        if reason := TAKEN.get(flag[2:].replace("-", "_")):
            raise UserError(f"{flag}: {reason}")
    args = sweep_parser().parse_args(words)
    for name in ("jobs", "ranks"):
        if (number := getattr(args, name)) is not None and number < 1:
            raise UserError(f"--{name} {number} cannot be; give at least 1")
    values = {
        name: list(itertools.chain(*found)) or [True] for name, found in vars(args).items() if name in setting_names()
    }
    for name, found in values.items():
        if twice := [text for text, times in Counter(map(format_value, found)).items() if times > 1]:
            raise UserError(f"{flag_of(name)} has {twice[0]} twice; give every value once")
    return values, args


def sweep_parser():
    """The sweep's own options, and every setting of run.py with any number of values."""
    parser = Parser(
        prog=PROG,
        usage=USAGE,
        allow_abbrev=False,
        description="Train many runs: the product of all values given. Seed 0 of every combination comes first, then seed 1, and so on.",
        epilog="Every setting takes one value or several; whole numbers also as ranges, such as --seed 0-4.",
    )
    own = parser.add_argument_group("the sweep")
    own.add_argument("--jobs", type=count, metavar="N", help="runs at once [the cores, over --ranks]")
    own.add_argument("--ranks", type=count, metavar="N", help="ranks of each run, under mpirun [1]")
    own.add_argument(
        "--sweep-dir",
        metavar="DIR",
        type=a_path,
        help="folder of the sweep; that of an earlier one goes on with it, with more values extends it "
        "[runs/sweep-<env>-<time>]",
    )
    own.add_argument("--dry-run", action="store_true", help="print the runs' command lines, and end")
    own.add_argument(
        "--config",
        metavar="FILE",
        type=a_path,
        help="settings of a run, its config.json, or any JSON object of them; what is typed wins",
    )
    swept = setting_names() - TAKEN.keys()
    for group in build_parser()._action_groups:
        actions = [action for action in group._group_actions if action.dest in swept]
        mine = parser.add_argument_group(group.title) if actions else None
        for action in actions:
            mine.add_argument(
                *action.option_strings,
                dest=action.dest,
                action="extend",
                nargs="*" if action.nargs == "?" else "+",
                type=_several(action),
                default=argparse.SUPPRESS,
                help=action.help,
                metavar=(f"{{{','.join(action.choices)}}}", "") if action.choices else action.metavar,
            )
    return parser


def whole_numbers():
    """Names of the settings that may be given as a range."""
    of_dataclasses = [*fields(RunSettings), *(one for homes in algorithm_fields().values() for one in homes.values())]
    of_policies = {name for name, (kind, _) in POLICY_SETTINGS.items() if kind is count}
    return {one.name for one in of_dataclasses if int in (one.type, *get_args(one.type))} | of_policies


def _several(action):
    """A type for argparse: the values that a text stands for, each as run.py's `action` reads it."""
    ranges = action.dest in whole_numbers()

    def parse_values(text):
        """[value, ...] of a text: one, or a range's. ArgumentTypeError for what cannot be."""
        if ranges and (found := RANGE.fullmatch(text)):
            low, high = map(int, found.groups())
            if not low <= high < low + MAX_RUNS:
                raise argparse.ArgumentTypeError(
                    f"{text!r} is no range; give the smaller number first, and at most {MAX_RUNS:,} of them"
                )
            return list(range(low, high + 1))
        value = action.type(text)
        if action.choices and value not in action.choices:
            raise argparse.ArgumentTypeError(f"{text!r} cannot be; choose one of {', '.join(action.choices)}")
        return [value]

    return parse_values
