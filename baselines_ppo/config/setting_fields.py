"""Dataclass fields that describe a setting completely, and the checks that follow from the description.

A setting is declared once, as a field of `RunSettings`, of an algorithm's settings or of a policy's settings. The
command line and its help, `config.json`, sweeps, comparisons, resumes and docs/reference/settings.md follow from the
field. Modules that declare settings do not postpone annotations: `Field.type` must be the type itself.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, field, fields
from types import NoneType, UnionType
from typing import Any, NamedTuple, get_args, get_origin

from common.errors import UserError
from common.formatting import safe_repr
from common.validation import INT64_MAX, check_bool, check_choice, check_int_argument, check_number

# group -> its title in --help, in the report and in docs/reference/settings.md, in this order
GROUPS = {
    "environment": "Environment and algorithm",
    "length": "Training length (choose one)",
    "parallelism": "Parallelism and batch size",
    "output": "Output, checkpoints and evaluation",
    "objective": "Objective",
    "returns": "Returns, advantages and values",
    "optimizer": "Optimizer",
    "trpo_vpg": "TRPO and policy gradient",
    "policy": "Policy network",
}


class Range(NamedTuple):
    """Values that a number may have.

    Attributes:
        contains: whether a value is in the range.
        text: the range as an error message names it after "must be".
    """

    contains: Callable[[float], bool]
    text: str


RANGES = {
    "count": Range(lambda x: x >= 1, "at least 1"),
    "positive": Range(lambda x: 0 < x < math.inf, "greater than 0"),
    "nonnegative": Range(lambda x: 0 <= x < math.inf, "at least 0"),
    "duration": Range(lambda x: x >= 0, "at least 0"),
    "fraction": Range(lambda x: 0 <= x <= 1, "between 0 and 1"),
    "finite": Range(math.isfinite, "finite"),
}


@dataclass(frozen=True)
class Search:
    """The values among which a search of settings (`baselines_ppo.tune`) chooses.

    Attributes:
        low, high: ends of the range of a number, both included; None if there are `choices`.
        log: the search is uniform in the logarithm of the number.
        choices: the values, instead of a range.
        default_for: the algorithms whose search includes the setting if the user chooses no settings.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()
    default_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class SettingInfo:
    """What is known of a setting besides its name, type and default.

    Attributes:
        doc: its meaning, for --help, the report and docs/reference/settings.md.
        group: a key of `GROUPS`.
        allowed: a key of `RANGES`; None for settings that are not numbers, or are checked elsewhere.
        choices: the values of a text setting; None for any text.
        lower, upper: further bounds, both included.
        unset: what the default None stands for, in --help.
        is_path: the value is a path, in which `~` stands for the home directory.
        aliases: other names of its flag, in other libraries or in American spelling.
        per_rank: "steps" or "samples" for the count of a rollout or a minibatch. Each rank has its own count; the
            command line gives the total over ranks unless `batch` is per-rank.
        schedule: name of the setting that describes how this one changes during the run.
        on_resume: "free" if a resumed run may change it, "fixed" if not.
        not_swept: why a sweep cannot vary it; None if it can.
        run_local: belongs to one run: another run does not take it over with `--config`.
        identity: two runs that differ only in settings without identity are the same run.
        separates_curves: a plot puts runs with different values into different groups.
        determines_others: other settings follow from it (a preset, an algorithm).
        machine_dependent: chosen from the number of cores if it is not given.
        init_only: is without effect if the weights are loaded from a trained policy.
        before: value for runs and files that were written before the setting existed; None for its default.
        search: the values that a search of settings tries, unless the user gives others. None for settings without
            such values; a bool and a text with `choices` need none.
    """

    doc: str
    group: str
    allowed: str | None = None
    choices: Sequence[str] | None = None
    lower: float | None = None
    upper: float | None = None
    unset: str = "none"
    is_path: bool = False
    aliases: tuple[str, ...] = ()
    per_rank: str | None = None
    schedule: str | None = None
    on_resume: str = "fixed"
    not_swept: str | None = None
    run_local: bool = False
    identity: bool = True
    separates_curves: bool = True
    determines_others: bool = False
    machine_dependent: bool = False
    init_only: bool = False
    before: Any = None
    search: Search | None = None


def setting(default: Any, doc: str, *, group: str, **details: Any) -> Any:
    """Return a dataclass field with its default and its `SettingInfo`, of which `details` are further attributes."""
    return field(default=default, metadata={"setting": SettingInfo(doc, group, **details)})


def setting_like(settings_class: type["SettingsBase"], name: str, default: Any) -> Any:
    """Return a field that is described like one of another class, with its own default."""
    return field(default=default, metadata=settings_class.__dataclass_fields__[name].metadata)


def setting_info(one: Field[Any]) -> SettingInfo:
    """Return the description of a field."""
    info: SettingInfo = one.metadata["setting"]
    return info


def defaults_of(settings_class: type["SettingsBase"]) -> dict[str, Any]:
    """Return {name: default} of the settings of a dataclass."""
    return {one.name: one.default for one in fields(settings_class)}


def base_type(one: Field[Any]) -> type:
    """Return the type of a field's values other than None, such as dict for `dict[str, Any] | None`."""
    kinds = get_args(one.type) if isinstance(one.type, UnionType) else (one.type,)
    (kind,) = (kind for kind in kinds if kind is not NoneType)
    found: type = get_origin(kind) or kind
    return found


def is_optional(one: Field[Any]) -> bool:
    """Return whether None is a value of a field."""
    return isinstance(one.type, UnionType) and NoneType in get_args(one.type)


def check_field(one: Field[Any], value: Any) -> None:
    """Raise UserError if a value is outside the range, the choices or the bounds of a field."""
    info, optional = setting_info(one), is_optional(one)
    if value is None and optional:
        return
    if info.choices:
        check_choice(one.name, value, info.choices)
    if info.allowed and not RANGES[info.allowed].contains(value):
        hint = ", or none" if optional else ""
        raise UserError(f"invalid {one.name}={value!r}: must be {RANGES[info.allowed].text}{hint}")
    if info.upper is not None and value > info.upper:
        raise UserError(f"invalid {one.name}={value!r}: must be at most {info.upper:,}")
    if info.lower is not None and value < info.lower:
        raise UserError(f"invalid {one.name}={value!r}: must be at least {info.lower:,}")


def check_int_list(name: str, value: Any) -> list[int]:
    """Return a list of integers of at least 1; UserError for anything else."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise UserError(f"invalid {name}={safe_repr(value)}: must be a list of integers, such as [256, 128]")
    return [check_int_argument(name, x, 1) for x in value]


# type -> function (name, value) that returns the value as Python's own type, or raises UserError
_CONVERTERS: dict[type, Callable[[str, Any], Any]] = {
    int: lambda name, x: check_int_argument(name, x, -INT64_MAX),
    float: check_number,
    bool: check_bool,
    list: check_int_list,
}


@dataclass(frozen=True)
class SettingsBase:
    """Base of the dataclasses of settings: numbers become Python's own, as config.json holds them.

    Raises:
        UserError: for a number or bool of another type that cannot be converted without loss.
    """

    def __post_init__(self) -> None:
        names = {one.name for one in fields(self)}
        for one in fields(self):
            value, schedule = getattr(self, one.name), setting_info(one).schedule
            if base_type(one) not in _CONVERTERS or (value is None and is_optional(one)):
                continue
            if callable(value) and schedule in names:
                raise UserError(
                    f"invalid {one.name}={safe_repr(value)}: must be a number, not a function; "
                    f"for a linear decrease to 0 set {schedule}='linear'"
                )
            object.__setattr__(self, one.name, _CONVERTERS[base_type(one)](one.name, value))

    def check(self) -> None:
        """Raise UserError for the first value outside its range, choices or bounds."""
        for one in fields(self):
            check_field(one, getattr(self, one.name))
