"""Features that only some operating systems have: file locks, directories as files, signals, resource limits.

A policy can be loaded, played and exported on any system. A run works without what is missing, or reports in one line
that it cannot. Imports no NumPy, so that `--help` stays fast.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

CAN_OPEN_DIRECTORIES = hasattr(os, "O_DIRECTORY")
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # flag of `os.open` that refuses symbolic links
NO_LOCKS_ERRNOS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # of file systems, and of `lock`, without locks
yield_core = getattr(os, "sched_yield", None) or (lambda: time.sleep(0))  # lets another process run


def lock(file: IO[Any], shared: bool = False) -> None:
    """Lock an open file until it is closed, without waiting.

    Raises:
        BlockingIOError: if another process holds the lock.
        OSError: with an errno of `NO_LOCKS_ERRNOS` if the system or the file system has no locks; or another.
    """
    if fcntl is None:
        raise OSError(errno.ENOSYS, "this system has no flock()")
    fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def unlock(file: IO[Any]) -> None:
    """Release a lock. Closing the file releases it only once every process that inherited the file has closed it."""
    if fcntl is not None:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_UN)


def write_over(descriptor: int, data: bytes) -> None:
    """Overwrite the beginning of an open file."""
    if hasattr(os, "pwrite"):
        os.pwrite(descriptor, data, 0)
    else:
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, data)


def signals(*names: str) -> list[signal.Signals]:
    """Return those of the named signals that the system has."""
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def max_open_files() -> int | None:
    """Return how many files this process may have open; None if that is unlimited or unknown."""
    if resource is None:
        return None
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit
