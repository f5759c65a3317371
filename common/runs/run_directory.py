"""A run's directory: its lock, `config.json`, and the stores of its checkpoints and logs.

Rank 0 writes it; every rank writes its own Monitor files.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.hints import OTHER_RUN_DIR
from common.runs.checkpoint_store import CheckpointStore
from common.runs.log_files import RunLogFiles
from common.storage.atomic import TEMP_PATTERN, atomic_write
from common.storage.directory_lock import DirectoryLock
from common.storage.json_files import read_json
from common.storage.paths import check_directory_writable, user_path
from common.storage.write_errors import WriteError, raises_write_error, user_error_on_os_error

CONFIG = "config.json"
FINAL_POLICY = "policy/policy.safetensors"
SUBDIRECTORIES = ("checkpoints", "best", "policy", "start", "tb", "ranks", "post-mortem")
TEMP_LOCATIONS = (".", "checkpoints", "best", "policy", "start")  # of temporary files of atomic writes


def read_config(run_path: str | Path) -> dict[str, Any] | None:
    """Return the `config.json` of a run's directory, or None if there is none; the directory is only read.

    Raises:
        UserError: if the file cannot be read.
    """
    path = user_path(run_path) / CONFIG
    try:
        if not path.exists():
            return None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    return read_json(path)


class RunDirectory:
    """The directory of one run.

    Args:
        path: the directory; created if it does not exist.
        keep_checkpoints: number of scheduled checkpoints to keep.

    Attributes:
        checkpoints: its `CheckpointStore`.

    Raises:
        UserError: if it cannot be created.
    """

    def __init__(self, path: str | Path, keep_checkpoints: int = 3) -> None:
        self.path = user_path(path, "run directory")
        self.lock: DirectoryLock | None = None
        self.checkpoints = CheckpointStore(self.path, keep_checkpoints, self.verify_ownership)
        with user_error_on_os_error(f"run directory {self.path}", OTHER_RUN_DIR):
            (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)

    def check_writable(self) -> None:
        """Raises UserError if this process cannot write here."""
        with user_error_on_os_error(f"run directory {self.path}", OTHER_RUN_DIR):
            check_directory_writable(self.path)

    def acquire(self) -> str | None:
        """Lock the directory for this process and delete temporary files of processes that were killed.

        Returns:
            None, or a warning of one line if the directory cannot be locked.

        Raises:
            UserError: if another running process has locked it, it cannot be written, or it contains a symbolic link
                that the run would follow. Nothing has been changed then.
        """
        for path in (self.path / name for name in (*SUBDIRECTORIES, ".lock")):
            if path.is_symlink():
                raise UserError(
                    f"{path} is a link, and a run writes into its own directory only; replace it with its target"
                )
        with user_error_on_os_error(f"run directory {self.path}", OTHER_RUN_DIR):
            self.lock = DirectoryLock(self.path)
        self.check_writable()
        if self.lock.warning is None:
            with user_error_on_os_error(f"run directory {self.path}", OTHER_RUN_DIR):
                for path in self._temporary_files():
                    path.unlink(missing_ok=True)
        return self.lock.warning

    def release(self) -> None:
        """Unlock the directory."""
        if self.lock is not None:
            self.lock.release()

    def verify_ownership(self) -> None:
        """Raises OSError if the directory no longer belongs to this run (`DirectoryLock.check`)."""
        if self.lock is not None:
            self.lock.verify_held()

    def _temporary_files(self) -> list[Path]:
        return [
            path
            for location in TEMP_LOCATIONS
            for path in (self.path / location).glob(".*")
            if TEMP_PATTERN.fullmatch(path.name)
        ]

    def stale_files(self) -> list[str]:
        """Return the names of the checkpoints and logs, of any rank, that are in the directory."""
        checkpoints = [str(path.relative_to(self.path)) for path in self.checkpoints.paths()]
        return checkpoints + RunLogFiles(self.path).names()

    def recovery_hint(self, error: WriteError) -> str:
        """Describe what is left of the run after a `WriteError`, and how to resume it; raises no OSError itself."""
        with contextlib.suppress(OSError):
            if paths := self.checkpoints.paths():
                return f"the last complete checkpoint is {paths[0].name}; {error.hint} and resume with --resume"
            if (self.path / CONFIG).exists():
                return f"there is no checkpoint yet; {error.hint} and restart with --resume"
        return f"there is no checkpoint; {error.hint} and restart"

    def write_config(self, config: dict[str, Any]) -> None:
        """Write `config.json` atomically."""
        atomic_write(self.path / CONFIG, (json.dumps(config, indent=1) + "\n").encode())

    def discard_after(self, checkpoint: Path | None) -> None:
        """Delete checkpoints that are newer than the one from which the run resumes, and the final policy.

        Args:
            checkpoint: its path; None if the run starts again.

        Raises:
            WriteError: if one of them cannot be deleted.
        """
        with raises_write_error(self.path):
            self.checkpoints.discard_after(checkpoint)
            (self.path / FINAL_POLICY).unlink(missing_ok=True)

    def log_sizes(self, rank: int) -> dict[str, int]:
        """Return the size in bytes of each log file that this rank writes (`RunLogFiles.sizes`)."""
        return RunLogFiles(self.path, rank).sizes()
