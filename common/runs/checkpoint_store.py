"""The checkpoint files of a run: naming, writing, rotation, and the choice of the latest valid one.

The contents of a checkpoint are defined and validated in `common.training.state`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.errors import UnreadableFileError, UserError
from common.storage.array_files import load_arrays, save_arrays
from common.storage.write_errors import raises_write_error

FORMAT = "baselines_ppo.checkpoint"
FORCED = "-forced"
FILE_NAME = re.compile(r"ckpt-(\d{8})(-forced)?\.safetensors")

Arrays = dict[str, np.ndarray]


class Checkpoint(NamedTuple):
    """A checkpoint that was read.

    Attributes:
        arrays: {name: array}.
        metadata: counters, log sizes by rank, and the policy's description.
        path: the file.
    """

    arrays: Arrays
    metadata: dict[str, Any]
    path: Path


def checkpoint_paths(run_path: str | Path) -> list[Path]:
    """Return the checkpoint files of a run's directory, latest first; the directory is only read.

    Raises:
        OSError: if the directory cannot be listed.
    """
    directory = Path(run_path) / "checkpoints"
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    matches = [match for name in names if (match := FILE_NAME.fullmatch(name))]
    return [directory / match.string for match in sorted(matches, key=lambda match: match.group(1), reverse=True)]


def is_forced(path: Path) -> bool:
    """Whether a checkpoint was written outside of the schedule, which truncated episodes."""
    return FORCED in path.name


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        run_path: the run's directory.
        keep: number of scheduled checkpoints to keep.
        verify_ownership: function that raises OSError if the directory no longer belongs to this process;
            called before each write.

    Attributes:
        skipped: {path: reason} of the invalid checkpoints that the last call of `latest` skipped.
    """

    def __init__(self, run_path: Path, keep: int = 3, verify_ownership: Callable[[], None] = lambda: None) -> None:
        self.run_path = run_path
        self.keep = keep
        self.verify_ownership = verify_ownership
        self.skipped: dict[Path, str] = {}

    def paths(self) -> list[Path]:
        """Return the checkpoint files, latest first. Raises OSError if they cannot be listed."""
        return checkpoint_paths(self.run_path)

    def save(self, iteration: int, arrays: Arrays, metadata: dict[str, Any], forced: bool = False) -> None:
        """Write a checkpoint atomically and delete the oldest ones beyond `keep`.

        Args:
            iteration: number of finished iterations.
            arrays: {name: array}.
            metadata: counters, log sizes by rank, and the policy's description.
            forced: whether it is written outside of the schedule; marked in the file name.

        Raises:
            WriteError: if it cannot be written, or the directory belongs to another process.
        """
        path = self.run_path / "checkpoints" / f"ckpt-{iteration:08d}{FORCED if forced else ''}.safetensors"
        with raises_write_error(path):
            self.verify_ownership()
            save_arrays(path, arrays, metadata | {"format": FORMAT, "forced": forced})
            self.delete_old()

    def delete_old(self) -> None:
        """Delete scheduled checkpoints beyond `keep`, and forced ones that are not the latest checkpoint."""
        paths = self.paths()
        scheduled = [path for path in paths if not is_forced(path)]
        superseded = [path for path in paths[1:] if is_forced(path)]
        for path in scheduled[self.keep :] + superseded:
            path.unlink()

    def latest(
        self, validate: Callable[[Path, Arrays, dict[str, Any]], None], exact: bool = False
    ) -> Checkpoint | None:
        """Return the latest valid checkpoint, or None if there is no checkpoint; `skipped` then lists the invalid ones.

        Args:
            validate: function (path, arrays, metadata) that raises UserError for an invalid checkpoint
                (`common.training.state.validate_checkpoint`).
            exact: skip forced checkpoints, which truncated episodes that an uninterrupted run would have continued.

        Raises:
            UserError: if every checkpoint is invalid; or if a candidate cannot be read, or has the format of another
                version. Such a file may be valid, so no older one replaces it.
        """
        self.skipped = {}
        try:
            for path in self.paths():
                if exact and is_forced(path):
                    continue
                try:
                    arrays, metadata = load_arrays(path, FORMAT)
                    validate(path, arrays, metadata)
                    return Checkpoint(arrays, metadata, path)
                except UnreadableFileError as error:
                    raise UserError(
                        f"{error}; nothing was changed: fix that, or move the file away to resume without it"
                    ) from error
                except UserError as error:
                    self.skipped[path] = str(error)
        except OSError as error:
            raise UserError(
                f"cannot read {self.run_path}/checkpoints: {error.strerror}; nothing was changed: fix that"
            ) from error
        if self.skipped:
            raise UserError(next(iter(self.skipped.values())))
        return None

    def discard_after(self, path: Path | None) -> None:
        """Delete what is newer than the checkpoint from which a run resumes.

        Skipped checkpoints are renamed to `<name>.damaged`.

        Args:
            path: the checkpoint; None to delete all, because the run starts again.
        """
        for skipped in self.skipped:
            skipped.replace(skipped.with_name(f"{skipped.name}.damaged"))
        for other in self.paths():
            if path is None or other.name > path.name and other != path:
                other.unlink()
        self.delete_old()
