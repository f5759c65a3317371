"""Atomic writing: a reader, or a crash, sees either the old state of a path or the complete new one.

A file or directory is written under a temporary name next to its destination, flushed to disk and renamed.
"""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from common.runtime import os_features
from common.storage.write_errors import raises_write_error

TEMP_PATTERN = re.compile(r"\..+\.\d+\.part(\.gif)?")  # matches the names that `temp_path` returns


def temp_path(path: Path, suffix: str = ".part") -> Path:
    """Return a temporary path in the directory of `path`: unique among processes, threads and calls, and not too long.

    `common.runs.run_directory` deletes the files with such names that a killed writer has left in a run directory.
    """
    return path.with_name(f".{path.name[:50]}.{os.getpid()}.{secrets.randbits(40)}{suffix}")


def fsync_path(path: str | os.PathLike[str]) -> None:
    """Flush a file, or a directory's entries (such as a rename in it), to disk. Does nothing on Windows."""
    if os_features.CAN_OPEN_DIRECTORIES:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def atomic_write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to the file `path` atomically.

    Raises:
        WriteError: if the system refuses; the previous file is then unchanged.
    """
    path = Path(path)
    temporary = temp_path(path)
    with raises_write_error(path):
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):  # the same fault that prevented the write
                temporary.unlink(missing_ok=True)
            raise
        fsync_path(path.parent)  # makes the rename durable


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Context manager that yields a new directory and renames it to `path` at the end, or deletes it on an error.

    Raises:
        OSError: if the system refuses, such as when `path` exists and is not an empty directory.
    """
    temporary = temp_path(path)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for part in (*temporary.rglob("*"), temporary):
            fsync_path(part)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    fsync_path(path.parent)
