"""Command-line options: an argparse parser with one-line errors, and options generated from settings."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from baselines_ppo.cli.command_lines import format_value
from baselines_ppo.config.converters import convert, convert_path, convert_setting
from baselines_ppo.config.presets import PRESETS
from baselines_ppo.config.registry import FLAG_ALIASES, SETTINGS, Setting
from common.errors import UserError

UNRECOGNIZED = "unrecognized arguments: "  # how argparse begins this message
METAVARS = {int: "INT", float: "FLOAT", bool: "BOOL", str: "TEXT", dict: "JSON", list: "INT"}
PER_RANK_NOTE = "; total over all ranks, or for each rank with --batch per-rank"


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises its errors as one-line `UserError`s.

    Attributes:
        actions: {destination: action} of all options.
    """

    def __init__(self, **options: Any) -> None:
        self.actions: dict[str, argparse.Action] = {}
        super().__init__(allow_abbrev=False, **options)

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        """Add an option or argument, as ArgumentParser does, and record it in `actions`."""
        return self._record(super().add_argument(*names, **options))

    def add_option(self, group: Any, *names: str, **options: Any) -> argparse.Action:
        """Add an option to an argument group, and record it in `actions`."""
        return self._record(group.add_argument(*names, **options))

    def _record(self, action: argparse.Action) -> argparse.Action:
        self.actions[action.dest] = action
        return action

    def error(self, message: str) -> NoReturn:
        """Raise a `UserError`; for an unknown flag with the flags that are spelled alike."""
        if message.startswith(UNRECOGNIZED):
            flag = message.removeprefix(UNRECOGNIZED).split()[0]
            flags = [name for action in self.actions.values() for name in action.option_strings]
            near = difflib.get_close_matches(flag.split("=")[0], flags, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else "--help lists all arguments"
            message = f"unknown argument {flag}; {hint}"
        raise UserError(message)


def argument_type(function: Callable[[str], Any], name: str) -> Callable[[str], Any]:
    """Return a type for argparse that reports the `UserError` of a conversion as the error of its option."""

    def parse(text: str) -> Any:
        try:
            return function(text)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    parse.__name__ = name  # argparse shows it
    return parse


int_argument = argument_type(lambda text: convert(text, int), "integer")
path_argument = argument_type(lambda text: Path(convert_path(text)), "path")


class JoinWords(argparse.Action):
    """Converts the words of a list, such as `--hidden 256 128`, together."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        """Store the list, or None for the word none."""
        try:
            setattr(namespace, self.dest, convert_setting(SETTINGS[self.dest], " ".join(values)))
        except UserError as error:
            raise argparse.ArgumentError(self, str(error)) from error


def add_setting(parser: Parser, group: Any, setting: Setting) -> None:
    """Add the option of a setting. It has no default, so that only explicit settings are in the result."""
    details: dict[str, Any] = {}
    if setting.type is bool:
        details = {"nargs": "?", "const": True}  # "--quiet" is "--quiet true"
    elif setting.type is list:
        details = {"nargs": "+", "action": JoinWords}
    to_value = argument_type(lambda text: convert_setting(setting, text), setting.name)
    parser.add_option(
        group,
        setting.flag,
        dest=setting.name,
        type=str if setting.type is list else to_value,
        default=argparse.SUPPRESS,
        choices=setting.info.choices,
        help=setting_help(setting),
        metavar=None if setting.info.choices else metavar(setting),
        **details,
    )


def metavar(setting: Setting) -> str:
    """Return the placeholder of a setting's value in --help."""
    return "PATH" if setting.info.is_path else METAVARS[setting.type]


def setting_help(setting: Setting) -> str:
    """Return the help of a setting's option: its meaning, its defaults, and the presets that have another value."""
    note = PER_RANK_NOTE if setting.info.per_rank else ""
    return f"{setting.info.doc}{note} [{format_default(setting)}]".replace("%", "%%")


def format_default(setting: Setting) -> str:
    """Return the default of a setting as text, such as "default: 0.2; 0.1 with preset atari".

    The command line always uses a preset. The default of an algorithm is left out if each of its presets has another
    value.
    """
    defaults = setting.distinct_defaults
    if len(defaults) > 1:
        kept = {preset.alg for name, preset in PRESETS.items() if name not in setting.presets()}
        defaults = {alg: value for alg, value in defaults.items() if alg in kept}
    by_value: dict[str, list[str]] = {}
    for preset, value in setting.presets().items():
        if preset != format_value(value):  # not "trpo with preset trpo"
            by_value.setdefault(format_value(value), []).append(preset)
    if len(defaults) == 1:
        ((_, default),) = defaults.items()
        text = f"default: {setting.info.unset if default is None else format_value(default)}"
    else:
        text = "default: " + ", ".join(f"{format_value(value)} for --alg {alg}" for alg, value in defaults.items())
    others = [f"{value} with preset {', '.join(presets)}" for value, presets in by_value.items()]
    return "; ".join([text, *others])


def normalize_flags(argv: Iterable[str]) -> list[str]:
    """Return arguments with hyphens instead of underscores in flags, and with our names for the aliases of flags."""
    words = []
    for word in argv:
        if word.startswith("--"):
            flag, *value = word.split("=", 1)
            flag = flag.replace("_", "-")
            word = "=".join([FLAG_ALIASES.get(flag, flag), *value])
        words.append(word)
    return words
