"""Exclusive use of a directory by one process for as long as the process lives."""

from __future__ import annotations

import contextlib
import errno
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from common.errors import UserError
from common.hints import OTHER_RUN_DIR, OTHER_SWEEP_DIR, OTHER_TUNE_DIR
from common.runtime import os_features

LOCK_FILE = ".lock"
HINTS = {"run": OTHER_RUN_DIR, "sweep": OTHER_SWEEP_DIR, "search": OTHER_TUNE_DIR}


class DirectoryLock:
    """A lock on a directory. The operating system releases it when the process ends, however it ends.

    Args:
        path: the directory.
        owner: what locks it, "run", "sweep" or "search"; for messages.

    Attributes:
        warning: one line if the system or the file system has no locks; else None.

    Raises:
        UserError: if another running process holds the lock; nothing has been changed then.
        OSError: if the directory cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], owner: str = "run"):
        self.path = Path(path)
        self.warning: str | None = None
        self._file = self._open()
        try:
            os_features.lock(self._file)
        except BlockingIOError as error:
            self._file.close()
            raise UserError(f"{owner} directory {path} is locked by another running process; {HINTS[owner]}") from error
        except OSError as error:
            self.warning = (
                f"{owner} directory {path} cannot be locked ({error.strerror}); make sure that no other {owner} uses it"
            )
        self._status = os.stat(self.path)
        self._close_directory: Callable[[], Any] = lambda: None
        if os_features.CAN_OPEN_DIRECTORIES:
            descriptor = os.open(self.path, os.O_RDONLY)  # held open, so that its inode number is not reused
            self._status = os.fstat(descriptor)
            self._close_directory = weakref.finalize(self, os.close, descriptor)

    def _open(self) -> IO[Any]:
        def open_without_links(path: str, flags: int) -> int:
            return os.open(path, flags | os_features.NO_FOLLOW, 0o666)

        file = open(self.path / LOCK_FILE, "ab", opener=open_without_links)
        weakref.finalize(self, file.close)
        return file

    def verify_held(self) -> None:
        """Check that the lock is still effective; lock again if only the lock file was deleted.

        Raises:
            OSError: if the path leads to another directory than the one that was locked, or if the lock file was
                deleted and another process has locked a new one.
        """
        if not os.path.samestat(self._status, os.stat(self.path)):
            raise OSError(errno.ESTALE, "the directory has been replaced by another one")
        with contextlib.suppress(FileNotFoundError):
            if self.warning or os.path.samestat(os.fstat(self._file.fileno()), os.stat(self.path / LOCK_FILE)):
                return
        self._file.close()
        self._file = self._open()
        try:
            os_features.lock(self._file)
        except BlockingIOError as error:
            raise OSError(errno.ESTALE, f"its {LOCK_FILE} was deleted, and another process has locked it") from error

    def release(self) -> None:
        """Release the lock."""
        self._file.close()
        self._close_directory()


def is_locked(path: str | os.PathLike[str]) -> bool:
    """Return whether a running process has locked a directory; False where there are no locks.

    Raises:
        OSError: if the lock file cannot be opened.
    """
    try:
        file = (Path(path) / LOCK_FILE).open("rb")
    except FileNotFoundError:
        return False
    with file:
        try:
            os_features.lock(file, shared=True)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno not in os_features.NO_LOCKS_ERRNOS:
                raise
    return False
