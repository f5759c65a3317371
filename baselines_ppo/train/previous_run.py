"""The run that is resumed, read from its config.json and validated."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines_ppo.config.config_files import (
    CONFIG_FORMAT,
    LEARN_FORMAT,
    PYTHON_RUN_HINT,
    RESTORE_HINT,
    check_config,
    validate_values,
)
from baselines_ppo.config.resolved_config import ResolvedConfig
from common.distributed.communicator import Communicator
from common.errors import UserError
from common.formatting import safe_repr
from common.runs.run_directory import read_config
from common.storage.directory_lock import is_locked
from common.validation import error_prefix

UNLOCK_TIMEOUT = 30.0  # seconds that --resume auto waits for a previous run to exit
REQUIRED_SETTINGS = ("env", "alg", "policy", "preset", "batch")


@dataclass(frozen=True)
class PreviousRun:
    """The run that is resumed, from its config.json.

    Attributes:
        path: its directory.
        ranks: number of ranks.
        config: its settings; `explicit` are those that the user gave.
        versions: {package: version} at its start.
    """

    path: str
    ranks: int
    config: ResolvedConfig
    versions: dict[str, Any]


def load_previous_run(path: str, comm: Communicator, allow_missing: bool) -> PreviousRun | None:
    """Read the config.json of the run that is to be resumed.

    Args:
        path: its directory.
        comm: the ranks.
        allow_missing: return None if the directory contains no run; and wait up to `UNLOCK_TIMEOUT` for a run that is
            still running, such as one that a scheduler is stopping.

    Raises:
        UserError: on all ranks, if there is no run, it cannot be resumed, or its config.json is invalid.
    """
    if allow_missing:
        if comm.rank == 0:
            wait_until_unlocked(Path(path))
        comm.barrier()
    config = comm.broadcast(read_config(path) if comm.rank == 0 else None)  # before rank 0 may write another one
    if config is None:
        if allow_missing:
            return None
        raise UserError(f"--resume: there is no run in {path}; check --run-dir, or start one without --resume")
    if config.get("format") == LEARN_FORMAT:
        raise UserError(f"--resume: the run in {path} {PYTHON_RUN_HINT}")
    if config.get("format") != CONFIG_FORMAT or not {"typed", "settings", "ranks"} <= config.keys():
        raise UserError(f"--resume: {path}/config.json was not written by this program; choose another --run-dir")
    return _validate_config(config, path)


def _validate_config(config: dict[str, Any], path: str) -> PreviousRun:
    source = f"--resume: {path}/config.json"
    check_config(config, source)
    settings = dict(config["settings"])
    policy_settings = settings.pop("policy_settings", None)
    if not isinstance(policy_settings, dict):
        raise UserError(
            f"{source}: invalid policy_settings={safe_repr(policy_settings)}: must be an object; {RESTORE_HINT}"
        )
    # `validate_values` leaves out settings that are null
    settings = dict.fromkeys(settings) | validate_values(settings, source)
    if missing := [name for name in REQUIRED_SETTINGS if settings.get(name) is None]:
        raise UserError(f"{source}: {missing[0]} is missing; {RESTORE_HINT}")
    settings["policy_settings"] = validate_values(policy_settings, source)
    explicit = validate_values(config["typed"], source)
    if "env" not in explicit:
        raise UserError(f"{source}: --env is missing from the explicit settings; {RESTORE_HINT}")
    versions = config.get("versions")
    with error_prefix(source):
        resolved = ResolvedConfig.from_dict(settings, explicit)
    return PreviousRun(path, config["ranks"], resolved, versions if isinstance(versions, dict) else {})


def wait_until_unlocked(path: Path) -> None:
    """Wait up to `UNLOCK_TIMEOUT` for the process that has locked a run's directory."""
    deadline = time.monotonic() + UNLOCK_TIMEOUT
    reported = False
    with contextlib.suppress(OSError):  # an unreadable directory is reported when it is acquired
        while is_locked(path) and time.monotonic() < deadline:
            if not reported:
                logging.getLogger("baselines_ppo").warning(
                    "%s is locked by another running process: waiting up to %.0f s for it to exit", path, UNLOCK_TIMEOUT
                )
            reported = True
            time.sleep(0.2)
