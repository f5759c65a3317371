"""All settings by name, and the sets of names that are selected by the descriptions of their fields."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from baselines_ppo.config.policy_settings import POLICIES
from baselines_ppo.config.presets import PRESETS, Preset
from baselines_ppo.config.run_settings import RunSettings
from baselines_ppo.config.setting_fields import GROUPS, SettingInfo, base_type, is_optional, setting_info
from baselines_ppo.config.settings import ALGORITHMS


def flag_of(name: str) -> str:
    """Return the flag of a setting."""
    return f"--{name.replace('_', '-')}"


@dataclass(frozen=True)
class Setting:
    """A setting as the command line, files and pages see it.

    Attributes:
        name: in Python and in files; its flag has hyphens.
        type: of its values other than None.
        optional: whether None is a value.
        info: the description in its field.
        defaults: {owner: default}; the owner is "run", an algorithm or a policy.
    """

    name: str
    type: type
    optional: bool
    info: SettingInfo
    defaults: dict[str, Any] = field(default_factory=dict)

    @property
    def flag(self) -> str:
        """The flag of the command line."""
        return flag_of(self.name)

    @property
    def distinct_defaults(self) -> dict[str, Any]:
        """The defaults by owner; one entry if all owners have the same."""
        values = list(self.defaults.values())
        return (
            self.defaults if any(value != values[0] for value in values) else dict([next(iter(self.defaults.items()))])
        )

    def default_with(self, preset: Preset) -> Any:
        """Return the default that a preset starts from."""
        if "run" in self.defaults:
            default = self.defaults["run"]
            return PRESET_DEFAULTS.get(self.name) if default is None else default
        return self.defaults.get(preset.alg, next(iter(self.defaults.values())))

    def presets(self) -> dict[str, Any]:
        """Return {preset: its value} for the presets that give another value than the default."""
        values = {name: preset.values() for name, preset in PRESETS.items()}
        return {
            name: values[name][self.name]
            for name, preset in PRESETS.items()
            if self.name in values[name] and values[name][self.name] != self.default_with(preset)
        }


# the part of RunSettings that a preset gives, by the defaults of `Preset`
PRESET_DEFAULTS = Preset(doc="", num_timesteps=0).values()
del PRESET_DEFAULTS["num_timesteps"]  # every preset has its own


def _collect() -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for owner, settings_class in {"run": RunSettings, **ALGORITHMS, **POLICIES}.items():
        for one in fields(settings_class):
            known = found.setdefault(one.name, Setting(one.name, base_type(one), is_optional(one), setting_info(one)))
            if known.info != setting_info(one):
                raise TypeError(f"{settings_class.__name__}.{one.name} is described differently; use setting_like")
            known.defaults[owner] = one.default
    return found


SETTINGS = _collect()
SETTINGS_BY_GROUP = {group: [one for one in SETTINGS.values() if one.info.group == group] for group in GROUPS}


def names_where(condition: Callable[[SettingInfo], Any]) -> tuple[str, ...]:
    """Return the names of the settings whose description fulfils a condition."""
    return tuple(name for name, one in SETTINGS.items() if condition(one.info))


STOP_SETTINGS = names_where(lambda info: info.group == "length")
RESUME_FREE = names_where(lambda info: info.on_resume == "free")
RUN_LOCAL_SETTINGS = names_where(lambda info: info.run_local)
MACHINE_SETTINGS = names_where(lambda info: info.machine_dependent)
NOT_SWEEPABLE = {name: one.info.not_swept for name, one in SETTINGS.items() if one.info.not_swept}
NON_IDENTITY_SETTINGS = names_where(lambda info: not info.identity)
NOT_GROUPABLE = names_where(lambda info: not info.separates_curves)
STRUCTURAL = (*names_where(lambda info: info.determines_others), "ranks")
INIT_ONLY_SETTINGS = names_where(lambda info: info.init_only)
PATH_SETTINGS = names_where(lambda info: info.is_path)
POLICY_SETTINGS = names_where(lambda info: info.group == "policy")
INTEGER_SETTINGS = tuple(name for name, one in SETTINGS.items() if one.type is int)
FLAG_ALIASES = {flag_of(alias): one.flag for one in SETTINGS.values() for alias in one.info.aliases}
