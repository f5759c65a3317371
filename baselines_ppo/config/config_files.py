"""Files of settings: a run's own config.json, or a JSON object of settings by name. What they hold is checked as if it were typed."""

import argparse
import functools
import json
from dataclasses import fields
from typing import get_args

from baselines_ppo.cli.parser import POLICY_DEFAULTS, POLICY_SETTINGS, RunSettings, build_parser, setting_names
from baselines_ppo.config.presets import PRESETS
from baselines_ppo.config.resolve import STOP_SETTINGS, fill_missing_settings, to_total_counts
from baselines_ppo.config.settings import ALGORITHMS, OLDER_CNN
from common.errors import UserError
from common.formatting import safe_repr
from common.storage.json_files import read_json
from common.validation import check_int

CONFIG_FORMAT = "baselines_ppo.config"
LEARN_FORMAT = "baselines_ppo.learn"  # of a run of learn() in Python, whose environment and policy nobody else has
PYTHON_RUN_HINT = (
    "is learn()'s, from Python, whose environment and policy the command line does not have; start it again from there"
)
OWN = ("run_dir", "save_policy", "quiet", "log_interval")  # a run's own, which no other takes over with its settings
TEXTS = (
    {one.name for one in fields(RunSettings) if str in (one.type, *get_args(one.type))}
    | {one.name for cls in ALGORITHMS.values() for one in fields(cls) if one.type is str}
    | {"kind", "init", "channels"}
)
NAMES = {
    one.name for one in fields(RunSettings) if str in get_args(one.type)
}  # settings that may be left out, and cannot be "none"


def load_overrides(path, typed, ranks):
    """What was typed, over the settings in a file: `--config`.

    A run's own `config.json` gives its settings exactly, on as many ranks and where neither preset, algorithm nor `batch` is typed; else it gives what
    was typed for that run, to be resolved anew. Any other file is a JSON object of settings by name.

    Returns:
        (settings as if they were typed, what a new `config.json` shall say was typed).

    Raises:
        UserError: if the file cannot be read, is of a run from Python, or holds a name or a value that is no setting's.
    """
    source = f"--config {path}"
    config = read_json(path, source)
    if config.get("format") == LEARN_FORMAT:
        raise UserError(f"{source}: its run {PYTHON_RUN_HINT}")
    if config.get("format") == CONFIG_FORMAT:
        checked_config(config, source)
        before = {name: value for name, value in config["typed"].items() if name not in OWN}
        given = before = checked(before, source)
        if config["ranks"] == ranks and not {"preset", "alg", "batch"} & typed.keys():
            given = exact_settings_of_run(config["settings"], ranks, source)
            if "stagger" not in before and (typed.get("bootstrap_time_limits") is False or typed.get("whole_episodes")):
                given.pop("stagger", None)  # its preset's, which is left out where what is typed now forbids it
    else:
        given = {name.replace("-", "_"): value for name, value in config.items()}
        given = before = checked(
            {name: value for name, value in given.items() if name not in ("policy_settings", *OWN)}, source
        )
    left_out = {
        *(STOP_SETTINGS if any(limit in typed for limit in STOP_SETTINGS) else ()),
        *(POLICY_SETTINGS if "policy" in typed else ()),
    }
    return tuple(
        {name: value for name, value in one.items() if name not in left_out} | typed for one in (given, before)
    )


def exact_settings_of_run(settings, ranks, source):
    """A run's settings, of its `config.json`, as they would be typed on as many ranks."""
    given = checked(
        {
            name: value
            for name, value in (settings | settings.get("policy_settings", {})).items()
            if name not in ("policy_settings", *OWN)
        },
        source,
    )
    if given.get("policy") == "cnn":
        given = OLDER_CNN | given
    if preset := PRESETS.get(
        given.get("preset")
    ):  # a policy's setting that did not exist when the run was started is not as the preset has it now
        given = {name: POLICY_DEFAULTS[name] for name in preset.policy.get(given.get("policy"), ())} | given
    return (
        to_total_counts(fill_missing_settings(given), ranks)
        if {"alg", "batch"} <= given.keys()
        else given | {"batch": "per-rank"}
    )


def checked_config(config, source):
    """Raises UserError unless the parts of a run's `config.json` are there, and of their types."""
    for name in ("typed", "settings"):
        if not isinstance(config.get(name), dict):
            raise UserError(
                f"{source} is no whole config.json: {name} is {safe_repr(config.get(name))}; put back the one that the run wrote"
            )
    if not isinstance(config["settings"].get("policy_settings", {}), dict):
        raise UserError(
            f"{source} is no whole config.json: policy_settings is {safe_repr(config['settings']['policy_settings'])}; "
            "put back the one that the run wrote"
        )
    try:
        check_int("ranks", config.get("ranks"), 1)
    except UserError as error:
        raise UserError(f"{source} is no whole config.json: {error}") from error


@functools.cache
def options():
    """{name: the command line's option}."""
    return {action.dest: action for action in build_parser()._actions}


def checked(given, source):
    """Settings {name: value} from a file, each of the type that the command line would have made of it.

    Raises:
        UserError: naming the first that is unknown or of another type.
    """
    parsers, known, found = options(), setting_names(), {}
    for name, value in given.items():
        if name not in known:
            raise UserError(f"{source}: {safe_repr(name)} is no setting; --help lists them")
        if value is None and name in NAMES:
            continue  # not given
        if name in TEXTS and not isinstance(value, str):
            raise UserError(f"{source}: {name}: {safe_repr(value)} is not text")
        try:
            found[name] = parsers[name].type(json.dumps(value) if isinstance(value, (dict, list)) else str(value))
        except (argparse.ArgumentTypeError, RecursionError) as error:
            raise UserError(f"{source}: {name}: {str(error) or type(error).__name__}") from error
        if parsers[name].choices and found[name] not in parsers[name].choices:
            raise UserError(
                f"{source}: {name}={safe_repr(found[name])} cannot be; choose one of {', '.join(parsers[name].choices)}"
            )
    return found
