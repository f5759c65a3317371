"""What only some systems have, decided here once: files' locks, folders that can be opened, signals, limits of a process. A policy is loaded, played and
exported on any system; a run does without what is missing, or says in one line that it cannot.

Imports no NumPy: `--help` answers at once.
"""

import contextlib
import errno
import os
import signal
import time

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
try:
    import resource
except ImportError:  # Windows
    resource = None

CAN_OPEN_DIRECTORIES = hasattr(
    os, "O_DIRECTORY"
)  # as it opens files: to hold them, to look into them whatever their path leads to, to put them on the disk
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # a flag of `os.open`: no link
CUTS_LOGS = (
    CAN_OPEN_DIRECTORIES and bool(NO_FOLLOW) and hasattr(os, "pread") and os.open in os.supports_dir_fd
)  # `common.runs.log_files`
WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # what filesystems, and `lock`, say that have none
yield_core = getattr(os, "sched_yield", None) or (lambda: time.sleep(0))  # to another process that wants it


def lock(file, shared=False):
    """Lock an open file, until it is closed; does not wait.

    Raises:
        BlockingIOError: if a process that is still alive has it.
        OSError: with an `errno` of `WITHOUT_LOCKS` if the system or the filesystem has no locks; or another.
    """
    if fcntl is None:
        raise OSError(errno.ENOSYS, "this system has no flock()")
    fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def unlock(file):
    """Give back a `lock`, which goes with the file only once every process that inherited it has closed it."""
    if fcntl is not None:
        with contextlib.suppress(OSError):  # of a file system without locks
            fcntl.flock(file, fcntl.LOCK_UN)


def write_over(number, data):
    """Write over the beginning of an open file."""
    if hasattr(os, "pwrite"):
        os.pwrite(number, data, 0)
    else:
        os.lseek(number, 0, os.SEEK_SET)
        os.write(number, data)


def signals(*names):
    """The numbers of the signals of these names that the system has."""
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def open_files():
    """How many files this process may have open; None where there is no limit, or nobody knows."""
    allowed = None if resource is None else resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if resource is None or allowed == resource.RLIM_INFINITY else allowed
