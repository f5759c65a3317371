"""A run that goes on: what its folder says is checked, by every rank alike, before any file of it is touched."""

import contextlib
import sys
import time

from baselines_ppo.config.config_files import (
    CONFIG_FORMAT,
    LEARN_FORMAT,
    PYTHON_RUN_HINT,
    check_config,
    validate_values,
)
from baselines_ppo.config.policy_settings import OLDER_CNN
from baselines_ppo.config.resolve import check_run_settings, limits_of
from baselines_ppo.config.resolved_config import check_policy_names, fill_missing_settings
from baselines_ppo.config.run_settings import RunSettings
from baselines_ppo.config.settings import ALGORITHMS
from common.errors import UserError
from common.formatting import safe_repr
from common.policies.space_comparison import space_difference
from common.policies.space_serialization import from_json
from common.policies.untrusted import max_space_entries
from common.runs.run_directory import read_config
from common.storage.array_files import check_arrays
from common.storage.directory_lock import is_locked
from common.validation import check_int, error_prefix

ENDING = 30.0  # seconds that --resume auto gives to a run before it


def load_previous_run(path, comm, allow_missing):
    """The `config.json` of the run to go on with: `ranks`, `typed`, `settings` and `versions`, each of its type.

    Args:
        may_start: None is returned where there is no run in the folder; and a run that is still alive, as one is that a scheduler has told to end, is waited
            for, `ENDING` seconds.

    Raises:
        UserError: if there is none, it is no run's, or it holds what cannot be.
    """

    if allow_missing:
        if comm.rank == 0:
            wait_until_unlocked(path)
        comm.barrier()
    config = comm.broadcast(read_config(path) if comm.rank == 0 else None)  # before rank 0 may write one
    if config is None:
        if allow_missing:
            return None
        raise UserError(f"--resume: there is no run in {path}; check --run-dir, or leave --resume out to start one")
    if config.get("format") == LEARN_FORMAT:
        raise UserError(f"--resume: the run in {path} {PYTHON_RUN_HINT}")
    if config.get("format") != CONFIG_FORMAT or not {"typed", "settings", "ranks"} <= config.keys():
        raise UserError(f"--resume: {path}/config.json was not written by this program; choose another --run-dir")
    source = f"--resume: {path}/config.json"
    check_config(config, source)
    settings, policy_settings = dict(config["settings"]), config["settings"].get("policy_settings")
    settings.pop("policy_settings", None)
    if not isinstance(policy_settings, dict):
        raise UserError(
            f"{source}: policy_settings={safe_repr(policy_settings)} is no whole config.json's; put back the one that the run wrote"
        )
    # a name that is not given is None here: settings are all there
    found = {name: None for name in settings} | validate_values(settings, source)
    if missing := [name for name in ("env", "alg", "policy", "preset", "batch") if found.get(name) is None]:
        raise UserError(f"{source}: {missing[0]} is missing; put back the config.json that the run wrote")
    versions = config.get("versions")
    return {
        "ranks": config["ranks"],
        "typed": validate_values(config["typed"], source),
        "versions": versions if isinstance(versions, dict) else {},
        "settings": fill_missing_settings(found)
        | {
            "policy_settings": (OLDER_CNN if found["policy"] == "cnn" else {})
            | validate_values(policy_settings, source)
        },
    }


def wait_until_unlocked(path):
    """Wait for the run in a folder to end, if one is alive, `ENDING` seconds at the most."""
    deadline, said = time.monotonic() + ENDING, False
    with contextlib.suppress(OSError):  # whoever may not look is told when the folder is claimed
        while is_locked(path) and time.monotonic() < deadline:
            if not said:
                print(
                    f"run.py: {path} is in use by a run that is still alive: waiting {ENDING:.0f} s for its end",
                    file=sys.stderr,
                    flush=True,
                )
            said = True
            time.sleep(0.2)


def check_settings(settings, path):
    """Raises UserError unless the settings of a run that goes on, after its own have been put over today's, can be."""
    with error_prefix(f"--resume: {path}/config.json"):
        check_run_settings({name: settings.get(name) for name in RunSettings.__dataclass_fields__})
        check_int("num_envs", settings["num_envs"])  # which a run that has started knows
        for name in ("env_workers", "env_threads"):  # as it does these, unless it is older than they are
            if settings.get(name) is not None:
                check_int(name, settings[name])
        check_policy_names(settings["policy_settings"], settings["policy"])
        cls = ALGORITHMS[settings["alg"]]
        algorithm = cls(**{name: settings[name] for name in cls.__dataclass_fields__})
        algorithm.check()
        algorithm.check_with(limits_of(settings))
        algorithm.check_for(settings["num_envs"])


def check_compatible(checkpoint, pi, ranks):
    """Raises UserError unless a checkpoint, `RunDirectory.latest_checkpoint`'s, is of a run with this policy, an example of it, on as many ranks."""
    arrays, metadata, path = checkpoint
    if len(metadata["logs"]) != ranks:
        raise UserError(
            f"{path} was written by {len(metadata['logs'])} ranks, the run in its folder has {ranks}; it is another run's: move it away"
        )
    check_arrays(
        path, {name.removeprefix("pi/"): x for name, x in arrays.items() if name.startswith("pi/")}, pi.state()
    )
    written = metadata.get("policy")
    if not isinstance(written, dict):
        return
    if written.get("class") != type(pi).__name__:
        raise UserError(
            f"{path} was trained with class {safe_repr(written.get('class'))}, the run in its folder has {safe_repr(type(pi).__name__)}; "
            "it is another run's: move it away"
        )
    for key, own in (("ob_space", pi.ob_space), ("ac_space", pi.ac_space)):
        with error_prefix(path):
            what = space_difference(from_json(written.get(key), max_space_entries(sum(x.size for x in arrays.values()))), own)
        if what:
            raise UserError(
                f"{path} was trained with another {key}: {what} in the run in its folder; it is another run's: move it away"
            )
