"""The command line of run.py, with one option for each setting. Imports no TensorFlow, Gymnasium or MPI."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from baselines_ppo import __version__
from baselines_ppo.cli.completion import SHELLS, completion_script, mark_paths
from baselines_ppo.cli.options import Parser, add_setting, normalize_flags, path_argument
from baselines_ppo.config.presets import PRESETS
from baselines_ppo.config.registry import PATH_SETTINGS, SETTINGS, SETTINGS_BY_GROUP
from baselines_ppo.config.setting_fields import GROUPS
from common.errors import UserError

USAGE = """
  %(prog)s --env ID [--SETTING VALUE] ...                    train
  %(prog)s --run-dir DIR --resume [--SETTING VALUE] ...      resume a run
  %(prog)s --play --load-path RUN [--deterministic] [--eval-episodes N] [--video FILE] [--json]"""
DIRECTORIES = ("run_dir",)


def build_parser() -> Parser:
    """Return the parser of run.py."""
    presets = "; ".join(f"{name}: {preset.doc}" for name, preset in PRESETS.items())
    parser = Parser(
        prog="run.py",
        usage=USAGE,
        description="Train a policy with PPO, TRPO or policy gradient, or run a trained policy.",
        epilog=f"presets: {presets}. Brackets show the default and the presets with another value.",
    )
    for group, title in GROUPS.items():
        options = parser.add_argument_group(title)
        for setting in SETTINGS_BY_GROUP[group]:
            add_setting(parser, options, setting)
    _add_modes(parser)
    _add_other_options(parser)
    return parser


def _add_modes(parser: Parser) -> None:
    group = parser.add_argument_group("Resume and evaluate")
    parser.add_option(
        group,
        "--resume",
        nargs="?",
        const="latest",
        choices=("latest", "exact", "auto"),
        help="resume the run in --run-dir from its latest checkpoint; exact: from its latest scheduled one, "
        "bit-identical to an uninterrupted run; auto: start the run if there is none [default: a new run]",
    )
    parser.add_option(
        group,
        "--play",
        action="store_true",
        help="run the policy at --load-path instead of training [default: train]",
    )
    parser.add_option(
        group,
        "--deterministic",
        action="store_true",
        help="with --play: take the most likely action [default: sample actions]",
    )
    parser.add_option(
        group,
        "--video",
        type=path_argument,
        help="with --play: record the first episode to this .gif file [default: no video; without a display: play.gif "
        "in the run directory]",
    )
    parser.add_option(
        group, "--json", action="store_true", help="with --play: print one JSON object [default: print text]"
    )
    parser.add_option(
        group,
        "--save-demonstrations",
        metavar="FILE",
        type=path_argument,
        help="with --play: write observations, actions, rewards and ends to this .npz file, for --demonstrations "
        "[default: none]",
    )


def _add_other_options(parser: Parser) -> None:
    group = parser.add_argument_group("Other")
    parser.add_option(
        group,
        "--config",
        metavar="FILE",
        type=path_argument,
        help="take settings from another run's config.json, or from a JSON object with the names above; explicit flags "
        "have precedence [default: none]",
    )
    parser.add_option(
        group,
        "--print-config",
        action="store_true",
        help="print the resolved settings as JSON and exit [default: off]",
    )
    parser.add_option(group, "--version", action="version", version=f"baselines_ppo {__version__}")
    add_completion_option(parser, group)


def add_completion_option(parser: Parser, group: Any) -> None:
    """Add `--print-completion`, which prints the completion script for a shell and exits."""

    class PrintCompletion(argparse.Action):
        """Prints the script and exits."""

        def __call__(self, parser_: Any, namespace: Any, shell: Any, option_string: str | None = None) -> None:
            files = (
                "video",
                "save_demonstrations",
                "config",
                *(name for name in PATH_SETTINGS if name not in DIRECTORIES),
            )
            mark_paths(parser.actions, files, DIRECTORIES)
            print(completion_script(parser, shell))
            parser.exit()

    parser.add_option(
        group,
        "--print-completion",
        action=PrintCompletion,
        choices=SHELLS,
        help="print a completion script for a shell and exit [default: off]",
    )


def parse(argv: Sequence[str]) -> tuple[dict[str, Any], argparse.Namespace]:
    """Parse the command line of run.py.

    Returns:
        ({setting: value} of the explicit settings, the parser's namespace).

    Raises:
        UserError: with one line, if the command line is invalid.
    """
    args = build_parser().parse_args(normalize_flags(argv))
    explicit = {name: value for name, value in vars(args).items() if name in SETTINGS}
    args.load_path = explicit.get("load_path")
    if args.video and not (args.play or args.load_path):
        raise UserError(
            "--video records a trained policy and needs --load-path; to record one at the end of a training, use --film"
        )
    if not (args.play or args.video):
        for name in ("deterministic", "json", "save_demonstrations"):
            if getattr(args, name):
                flag = name.replace("_", "-")
                raise UserError(f"--{flag} needs --play; add --play --load-path RUN, or leave it out")
    return explicit, args
