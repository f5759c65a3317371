"""The log files of a run: their names, their sizes, and how they are truncated to a checkpoint."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from common.errors import UserError
from common.runtime import os_features
from common.storage.append_file import complete_lines
from common.storage.write_errors import raises_write_error
from common.validation import check_int

ROW_FILES = ("progress.csv", "progress.json", "evaluations.csv")
MONITOR_SUFFIX = ".monitor.csv"
MONITOR_HEADER_LINES = 2
EVENTS_PREFIX = "tb/events."  # TensorBoard's binary files


class RunLogFiles:
    """The logs that one rank of a run writes.

    Args:
        run_path: the run's directory.
        rank: the rank; None for the logs of all ranks.
    """

    def __init__(self, run_path: str | Path, rank: int | None = None) -> None:
        self.run_path = Path(run_path)
        self.rank = rank

    def is_log(self, name: str) -> bool:
        """Whether a name in the directory is that of one of these logs."""
        if name.endswith(MONITOR_SUFFIX) and "/" not in name:
            return self.rank is None or name.startswith(f"{self.rank}.")
        is_of_root = name in ROW_FILES or name.startswith(EVENTS_PREFIX) and name.count("/") == 1
        return not self.rank and is_of_root

    def names(self) -> list[str]:
        """Return the sorted names of the logs that exist, symbolic links included."""
        names = os.listdir(self.run_path) if self.run_path.is_dir() else []
        if (self.run_path / "tb").is_dir():
            names += [f"tb/{name}" for name in os.listdir(self.run_path / "tb")]
        return sorted(filter(self.is_log, names))

    def sizes(self) -> dict[str, int]:
        """Flush the logs to disk and return their sizes in bytes, so that a checkpoint may rely on them.

        Raises:
            WriteError: if one of them cannot be flushed.
        """
        # Windows flushes no file that is open for reading only
        mode = "rb" if os_features.CAN_OPEN_DIRECTORIES else "r+b"
        sizes = {}
        for name in self.names():
            path = self.run_path / name
            with raises_write_error(path), path.open(mode) as file:
                os.fsync(file.fileno())
                sizes[name] = os.fstat(file.fileno()).st_size
        return sizes

    def check(self, sizes: Mapping[str, int]) -> list[str]:
        """Check all logs before one of them is truncated.

        Args:
            sizes: {name: size in bytes} of a checkpoint.

        Returns:
            A description of each log that is missing or shorter than its size.

        Raises:
            UserError: for an invalid size, and for a log that is a symbolic link or not a regular file: truncating it
                would change a file elsewhere.
            WriteError: for a log that cannot be written.
        """
        missing = []
        names = self.names()
        for name in names:
            path = self.run_path / name
            size = check_int(str(path), sizes.get(name, 0))
            with raises_write_error(path):
                status = os.lstat(path)
                if stat.S_ISLNK(status.st_mode):
                    raise UserError(
                        f"{path} is a link, and only logs in the run's own directory are truncated; "
                        "replace it with its target"
                    )
                if not stat.S_ISREG(status.st_mode):
                    raise UserError(f"{path} is not a regular file; move it away")
                path.open("r+b").close()
            if status.st_size < size:
                missing.append(f"{name} has {status.st_size:,} of {size:,} bytes")
        missing += [
            f"{name} is missing" for name, size in sizes.items() if size and self.is_log(name) and name not in names
        ]
        return missing

    def truncate_to(self, sizes: Mapping[str, int]) -> None:
        """Truncate the logs to their sizes at a checkpoint, because the rows after it will be written again.

        A log without a size is deleted. One that is shorter keeps its complete rows. No log is extended.

        Args:
            sizes: {name: size in bytes} of a checkpoint, checked by `check`.

        Raises:
            WriteError: if one of them cannot be changed.
        """
        for name in self.names():
            path = self.run_path / name
            with raises_write_error(path):
                if name not in sizes:
                    path.unlink()
                    continue
                current = path.stat().st_size
                size = min(sizes[name], current)
                if current < sizes[name] and not name.startswith(EVENTS_PREFIX):
                    size = complete_rows_size(path, MONITOR_HEADER_LINES if name.endswith(MONITOR_SUFFIX) else 0)
                if size < current:
                    os.truncate(path, size)


def complete_rows_size(path: Path, header_lines: int = 0) -> int:
    """Return the size in bytes of a text file without an incomplete last row.

    Args:
        path: the file.
        header_lines: number of lines without which the file has no rows; its size is then 0.
    """
    content = complete_lines(path.read_bytes())
    return len(content) if content.count(b"\n") >= header_lines else 0
