"""Files for `--config`: a run's config.json, or a JSON object of settings. Values are checked like those of flags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from typing import Any

from baselines_ppo.config.converters import convert_setting
from baselines_ppo.config.policy_settings import POLICIES, values_before
from baselines_ppo.config.presets import PRESETS
from baselines_ppo.config.registry import POLICY_SETTINGS, RUN_LOCAL_SETTINGS, SETTINGS, STOP_SETTINGS
from baselines_ppo.config.resolved_config import fill_missing_settings, to_total_counts
from common.errors import UserError
from common.formatting import safe_repr
from common.storage.json_files import read_json
from common.validation import check_choice, check_int

CONFIG_FORMAT = "baselines_ppo.config"
LEARN_FORMAT = "baselines_ppo.learn"  # a run of learn() in Python, whose environment and policy the command line lacks
PYTHON_RUN_HINT = (
    "was started by learn() in Python; the command line cannot continue it. Start it again from your script"
)
RESTORE_HINT = "restore the config.json that the run wrote"
# settings of earlier versions: {name: the only value that this version can continue, or None for any}
REMOVED_SETTINGS = {"optimizer": "adam", "kfac_damping": None}


def load_overrides(
    path: str | PathLike[str], explicit: Mapping[str, Any], ranks: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Combine the settings in a file for `--config` with explicit settings, which have precedence.

    A run's config.json gives that run's exact settings if the number of ranks is the same and neither `preset`, `alg`
    nor `batch` is explicit. Otherwise it gives the explicit settings of that run, to be resolved again. Any other file
    is a JSON object of settings by name.

    Args:
        path: of the file.
        explicit: {setting: value} that the user gave besides.
        ranks: number of ranks of the new run.

    Returns:
        (settings to resolve, settings that the new config.json stores as explicit), both by name.

    Raises:
        UserError: if the file cannot be read, is of a run from Python, or has an unknown setting or an invalid value.
    """
    source = f"--config {path}"
    config = read_json(path, source)
    if config.get("format") == LEARN_FORMAT:
        raise UserError(f"{source}: the run {PYTHON_RUN_HINT}")
    if config.get("format") == CONFIG_FORMAT:
        check_config(config, source)
        stored = given = validate_values(_without_local(config["typed"]), source)
        if config["ranks"] == ranks and not {"preset", "alg", "batch"} & explicit.keys():
            given = exact_settings_of_run(config["settings"], ranks, source)
            conflict = explicit.get("bootstrap_time_limits") is False or explicit.get("whole_episodes")
            if "stagger" not in stored and conflict:
                given.pop("stagger", None)  # given by its preset, not by its user
    else:
        named = {name.replace("-", "_"): value for name, value in config.items()}
        stored = given = validate_values(_without_local(named), source)
    replaced = {
        *(STOP_SETTINGS if any(name in explicit for name in STOP_SETTINGS) else ()),
        *(POLICY_SETTINGS if "policy" in explicit else ()),
    }

    def override(settings: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in settings.items() if name not in replaced} | dict(explicit)

    return override(given), override(stored)


def _without_local(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a run may take over from another one."""
    omitted = ("policy_settings", *RUN_LOCAL_SETTINGS)
    return {name: value for name, value in settings.items() if name not in omitted}


def exact_settings_of_run(settings: Mapping[str, Any], ranks: int, source: str) -> dict[str, Any]:
    """Convert a run's resolved settings (per-rank counts) back to the form of the command line (total counts).

    Args:
        settings: of its config.json.
        ranks: number of its ranks.
        source: how an error names the file.
    """
    policy_settings = settings.get("policy_settings", {})
    given = validate_values(_without_local(dict(settings) | policy_settings), source)
    if (policy := given.get("policy", "")) in POLICIES:
        before = values_before(POLICIES[policy])
        given = {name: value for name, value in before.items() if name not in policy_settings} | given
    if preset := PRESETS.get(given.get("preset", "")):
        # a policy setting that did not exist when the run was started must not take the current preset's value
        defaults = {name: SETTINGS[name].defaults[policy] for name in preset.policy.get(policy, ())}
        given = defaults | given
    if {"alg", "batch"} <= given.keys():
        return to_total_counts(fill_missing_settings(given), ranks)
    return given | {"batch": "per-rank"}


def check_config(config: Mapping[str, Any], source: str) -> None:
    """Raise UserError unless the parts of a run's config.json exist and have their types."""
    parts = {name: config.get(name) for name in ("typed", "settings")}
    if isinstance(parts["settings"], dict):
        parts["policy_settings"] = parts["settings"].get("policy_settings", {})
    for name, value in parts.items():
        if not isinstance(value, dict):
            raise UserError(
                f"{source} is not a valid config.json: {name} is {safe_repr(value)}, not a JSON object; {RESTORE_HINT}"
            )
    try:
        check_int("ranks", config.get("ranks"), 1)
    except UserError as error:
        raise UserError(f"{source} is not a valid config.json: {error}; {RESTORE_HINT}") from error


def validate_values(given: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return settings from a file, each with the type that the command line would give it.

    Settings of earlier versions are left out, if this version does what they say.

    Raises:
        UserError: naming the first that is unknown or of another type, or has a value that this version does not have.
    """
    found = {}
    for name, value in given.items():
        if name in REMOVED_SETTINGS:
            if REMOVED_SETTINGS[name] not in (None, value):
                raise UserError(
                    f"{source}: {name}={safe_repr(value)} was removed; use the version that wrote the file, or train "
                    f"again with {name}={REMOVED_SETTINGS[name]!r}, which needs no setting"
                )
            continue
        if name not in SETTINGS:
            raise UserError(f"{source}: unknown setting {safe_repr(name)}; --help lists all settings")
        setting = SETTINGS[name]
        if value is None and setting.optional and setting.type is str:
            continue  # not given
        if setting.type is str and not isinstance(value, str):
            raise UserError(f"{source}: invalid {name}={safe_repr(value)}: must be text")
        try:
            text = json.dumps(value) if isinstance(value, dict | list) else str(value)
            found[name] = convert_setting(setting, text)
            if setting.info.choices and found[name] is not None:
                check_choice(name, found[name], setting.info.choices)
        except (UserError, RecursionError) as error:
            reason = str(error) or type(error).__name__
            raise UserError(f"{source}: {reason if f'{name}=' in reason else f'{name}: {reason}'}") from error
    return found
