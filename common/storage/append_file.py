"""Text files that grow by complete lines: one writer, and readers that ignore a line in progress."""

from __future__ import annotations

import gc
import os
import stat
import time
import weakref
from typing import AnyStr

from common.errors import UserError
from common.runtime import os_features
from common.storage.paths import make_directory, user_path
from common.storage.write_errors import raises_write_error

LOCK_TIMEOUT = 10.0  # seconds; other ranks and worker processes of a killed run need some time to exit
# (device, inode) -> the `AppendOnlyFile` of this process
_open_files: weakref.WeakValueDictionary[tuple[int, int], AppendOnlyFile] = weakref.WeakValueDictionary()


def complete_lines(content: AnyStr) -> AnyStr:
    """Return text, or bytes, up to and including the last newline: without a line that is still being written."""
    newline = "\n" if isinstance(content, str) else b"\n"
    return content[: content.rfind(newline) + 1]


class FileInUseError(UserError):
    """An append-only file already has a writer.

    Attributes:
        path: the file.
        here: whether the writer is in this process.
    """

    def __init__(self, path: os.PathLike[str], here: bool):
        super().__init__(
            f"{path} already has a writer (another environment, log or process); give each writer its own file, "
            "or close the other one first"
        )
        self.path = path
        self.here = here


class AppendOnlyFile:
    """A text file that grows by complete lines.

    Each line is passed to the operating system when it is written. If the disk is too full for a line, the file is
    unchanged. There is one writer, because lines of two would be mixed.

    Args:
        path: the file; appended to if it exists, otherwise created together with its directory.

    Raises:
        FileInUseError: if it has a writer already, in this process or (on file systems with locks) in another one.
        WriteError: if it cannot be opened; also raised by `write`.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = user_path(path)
        with raises_write_error(self.path):
            make_directory(self.path.parent)
            # unbuffered: a buffer would keep what could not be written, and fail again when it is closed
            self.file = open(self.path, "ab", buffering=0)
        self._close = weakref.finalize(self, self.file.close)  # Python warns about files that are never closed
        status = os.fstat(self.file.fileno())
        self.key = (status.st_dev, status.st_ino)
        if not stat.S_ISREG(status.st_mode):
            return  # several writers may share a device such as /dev/null
        if self.key in _open_files:
            gc.collect()  # the other writer may be unreachable but not collected yet
        if self.key in _open_files or not self._lock():
            self._close()
            raise FileInUseError(self.path, here=self.key in _open_files)
        _open_files[self.key] = self

    def _lock(self) -> bool:
        """Lock the file against other processes and return whether that succeeded within `LOCK_TIMEOUT`.

        Returns True without a lock where the system or the file system has none.
        """
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                os_features.lock(self.file)
                return True
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.1)
            except OSError:
                return True

    def is_empty(self) -> bool:
        """Return whether the file has no header yet."""
        return os.fstat(self.file.fileno()).st_size == 0

    def write(self, text: str) -> None:
        """Append complete lines."""
        data = text.encode()
        written = 0
        descriptor = self.file.fileno()
        with raises_write_error(self.path):
            try:
                while written < len(data):  # a disk that is almost full accepts a part first
                    written += os.write(descriptor, data[written:])
            except OSError:
                if written:
                    os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
                raise

    def close(self) -> None:
        """Close the file and release its lock."""
        if self._close.alive:
            _open_files.pop(self.key, None)
            os_features.unlock(self.file)  # a forked child would otherwise keep the lock
        self._close()
