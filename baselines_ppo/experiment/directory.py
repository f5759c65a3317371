"""The directory of a new run or sweep: its default path, and its acquisition by rank 0 for all ranks."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from baselines_ppo.config.runs_root import runs_root
from common.distributed.communicator import Communicator
from common.errors import UserError
from common.hints import OTHER_RUN_DIR, RUN_DIR_TAKEN
from common.policies.files import read_best
from common.runs.run_directory import RunDirectory, read_config
from common.storage.directory_lock import is_locked
from common.storage.write_errors import user_error_on_os_error


def _file_name(env_id: str) -> str:
    return re.sub(r"[/:]", "-", env_id)


def _timestamp() -> str:
    return time.strftime("%Y%m%d-%H%M%S")


def make_default_run_directory(env_id: str, seed: int) -> str:
    """Create a directory for a run without an explicit path, and return its path.

    If another run has started in the same second, a number is appended.

    Raises:
        UserError: if it cannot be created.
    """
    parent = runs_root() / _file_name(env_id)
    name = f"{_timestamp()}-seed{seed}"
    number = 1
    while True:
        path = parent / (name if number == 1 else f"{name}-{number}")
        with user_error_on_os_error(f"run directory {path}", OTHER_RUN_DIR):
            try:
                os.makedirs(path)
                return str(path)
            except FileExistsError:
                number += 1


def default_sweep_path(env_ids: Sequence[str]) -> Path:
    """Return the path of a sweep without an explicit one; the directory is not created."""
    env = _file_name(env_ids[0]) if len(env_ids) == 1 else "many"
    return runs_root() / f"sweep-{env}-{_timestamp()}"


def default_storage_path(env_id: str) -> Path:
    """Return the path of the trials of a search without an explicit one; nothing is created."""
    return runs_root() / f"tune-{_file_name(env_id)}-{_timestamp()}.db"


def check_has_no_run(path: str | Path) -> None:
    """Raise UserError if a directory contains a run, or its config.json cannot be read."""
    if read_config(path) is not None:
        raise UserError(f"run directory {path} {RUN_DIR_TAKEN}")


def check_early_for_run(path: str | Path) -> None:
    """Check as `check_has_no_run`, unless the directory is locked or cannot be read: its acquisition reports that."""
    with contextlib.suppress(OSError):
        if not is_locked(path):
            check_has_no_run(path)


def acquire_run_directory(path: str | Path, comm: Communicator, resuming: bool, keep_checkpoints: int) -> RunDirectory:
    """Acquire a run's directory on rank 0 for the whole job, and return it on every rank.

    Args:
        path: the directory; created if it does not exist.
        comm: the ranks.
        resuming: whether the directory may contain a run.
        keep_checkpoints: number of scheduled checkpoints to keep.

    Raises:
        UserError: on all ranks, if it is locked, contains another run, or cannot be written. Nothing has been changed
            then.
    """
    acquired: RunDirectory | None = None

    def acquire() -> None:
        nonlocal acquired
        acquired = RunDirectory(path, keep_checkpoints)
        if warning := acquired.acquire():
            logging.getLogger("baselines_ppo").warning("%s", warning)
        if not resuming:
            check_has_no_run(path)
        if not resuming and (names := acquired.stale_files()):
            raise UserError(
                f"run directory {path} contains {names[0]} of a run whose config.json is missing; {OTHER_RUN_DIR}"
            )
        read_best(path)  # raises UserError for an unreadable best policy before anything is changed

    comm.run_on_root(acquire)
    if acquired is not None:
        return acquired
    directory = RunDirectory(path)
    directory.check_writable()
    return directory
