"""The settings that a search varies, and the values that it tries, from the settings' fields or the command line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from baselines_ppo.cli.command_lines import format_value
from baselines_ppo.config.combinations import unused_settings
from baselines_ppo.config.converters import convert, convert_setting
from baselines_ppo.config.registry import FLAG_ALIASES, SETTINGS, Setting, flag_of
from baselines_ppo.config.resolved_config import ResolvedConfig
from common.errors import UserError
from common.formatting import safe_repr
from common.validation import check_choice

SEARCHABLE_GROUPS = ("parallelism", "objective", "returns", "optimizer", "trpo_vpg", "policy")
LOG = "log"

Settings = Mapping[str, Any]
Resolve = Callable[[Settings], ResolvedConfig]


@dataclass(frozen=True)
class Dimension:
    """A setting that is searched.

    Attributes:
        name: of the setting.
        low, high: ends of its range, both included; None if it has `choices`.
        log: the search is uniform in the logarithm.
        choices: its values, instead of a range.
    """

    name: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()

    def suggest(self, trial: Any) -> Any:
        """Return the value that the sampler of an Optuna trial chooses."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        suggest = trial.suggest_int if SETTINGS[self.name].type is int else trial.suggest_float
        return suggest(self.name, self.low, self.high, log=self.log)

    def ends(self) -> tuple[Any, ...]:
        """Return the values that must be valid: all choices, or the ends of the range."""
        return self.choices or (self.low, self.high)

    def __str__(self) -> str:
        """Return the dimension as an argument of --search."""
        if self.choices:
            return f"{self.name}={','.join(map(format_value, self.choices))}"
        return f"{self.name}={self.low}:{self.high}{f':{LOG}' if self.log else ''}"


def parse_dimension(word: str) -> Dimension:
    """Return the dimension of an argument of --search: NAME, NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A,B,C.

    Raises:
        UserError: for an unknown setting, one that cannot be searched, and values that are invalid.
    """
    name, _, values = word.partition("=")
    setting = searchable_setting(name)
    if "=" not in word:
        return dimension_of(setting)
    if ":" in values and setting.type in (int, float):
        return parse_range(word, setting, values.split(":"))
    choices = tuple(convert_choice(word, setting, text) for text in values.split(","))
    if len(choices) < 2 or len(set(choices)) < len(choices):
        raise UserError(
            f"invalid --search {word}: must have two values or more, each once, such as {name}=A,B, or a range LOW:HIGH"
        )
    return Dimension(setting.name, choices=choices)


def searchable_setting(name: str) -> Setting:
    """Return a setting by its name or flag; UserError if there is none, or it cannot be searched."""
    flag = flag_of(name.removeprefix("--"))
    known = FLAG_ALIASES.get(flag, flag).removeprefix("--").replace("-", "_")
    setting = SETTINGS.get(known)
    if setting is None:
        raise UserError(f"invalid --search {safe_repr(name)}: not a setting; `run.py --help` lists all settings")
    if setting.info.group not in SEARCHABLE_GROUPS or setting.type not in (int, float, bool, str):
        raise UserError(
            f"invalid --search {name}: a search varies single numbers, choices and switches of the groups "
            f"{', '.join(SEARCHABLE_GROUPS)}; give {setting.flag} as a flag instead"
        )
    return setting


def dimension_of(setting: Setting) -> Dimension:
    """Return the dimension that a setting's field describes; UserError if it describes none."""
    search = setting.info.search
    if search is not None:
        return Dimension(setting.name, search.low, search.high, search.log, search.choices)
    choices = (False, True) if setting.type is bool else tuple(setting.info.choices or ())
    if not choices:
        raise UserError(
            f"--search {setting.name} has no usual values; add them, such as {setting.name}=1:10 or "
            f"{setting.name}=1,2,4"
        )
    return Dimension(setting.name, choices=choices)


def parse_range(word: str, setting: Setting, parts: Sequence[str]) -> Dimension:
    """Return the dimension of a range; of --search `word`, whose values are `parts`."""
    if len(parts) > 3 or (len(parts) == 3 and parts[2] != LOG):
        raise UserError(f"invalid --search {word}: must be {setting.name}=LOW:HIGH or {setting.name}=LOW:HIGH:{LOG}")
    try:
        low, high = (convert(text, setting.type) for text in parts[:2])
    except UserError as error:
        raise UserError(f"--search {word}: {error}") from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"invalid --search {word}: LOW must be below HIGH, and both finite")
    if len(parts) == 3 and low <= 0:
        raise UserError(f"invalid --search {word}: LOW must be above 0 for a logarithmic range")
    search = setting.info.search
    return Dimension(setting.name, low, high, len(parts) == 3 or bool(search and search.log and low > 0))


def convert_choice(word: str, setting: Setting, text: str) -> Any:
    """Return one value of the choices of --search `word`."""
    try:
        value = convert_setting(setting, text)
        if setting.info.choices and value is not None:
            check_choice(setting.name, value, setting.info.choices)
    except UserError as error:
        raise UserError(f"--search {word}: {error}") from error
    return value


def chosen_space(words: Sequence[str], fixed: Settings, resolve: Resolve) -> list[Dimension]:
    """Return the search space of the arguments of --search, checked.

    Args:
        words: the arguments.
        fixed: {setting: value} of the settings that all trials have.
        resolve: resolves the settings of a run; raises UserError for invalid ones.

    Raises:
        UserError: for an invalid argument, a setting that is given twice, and a value that no training accepts.
    """
    space = [parse_dimension(word) for word in words]
    names = [one.name for one in space]
    for word, one in zip(words, space):
        if names.count(one.name) > 1:
            raise UserError(f"--search has {one.name} twice; give every setting once")
        if one.name in fixed:
            raise UserError(f"{flag_of(one.name)} is both given and searched; leave one of them out")
        for value in one.ends():
            try:
                config = resolve({**fixed, one.name: value})
            except UserError as error:
                raise UserError(f"--search {word}: {error}") from error
        if unused := dict(unused_settings(config)).get(one.name):
            raise UserError(f"--search {word} has no effect here: it requires {unused}")
    return space


def default_space(fixed: Settings, resolve: Resolve, alg: str) -> list[Dimension]:
    """Return the search space of an algorithm, without settings that are fixed, or have no effect or no valid values.

    Args:
        fixed, resolve: as for `chosen_space`.
        alg: name of the algorithm.
    """
    space = []
    for setting in SETTINGS.values():
        search = setting.info.search
        if search is None or alg not in search.default_for or setting.name in fixed:
            continue
        one = dimension_of(setting)
        valid = valid_values(one.name, one.ends(), fixed, resolve)
        if one.choices and len(valid) > 1:
            space.append(Dimension(one.name, choices=tuple(valid)))
        elif len(valid) == len(one.ends()):
            space.append(one)
    if not space:
        raise UserError("every setting of the default search is given as a flag; name others with --search")
    return space


def valid_values(name: str, values: Iterable[Any], fixed: Settings, resolve: Resolve) -> list[Any]:
    """Return the values of a setting that a training accepts, and that have an effect in it."""
    valid = []
    for value in values:
        try:
            config = resolve({**fixed, name: value})
        except UserError:
            continue
        if name not in dict(unused_settings(config)):
            valid.append(value)
    return valid
