"""Simulates a system without POSIX features, as far as possible. Must be imported before anything else."""

import builtins
import faulthandler
import io
import os
import signal
import sys

MODULES = ("resource", "fcntl", "termios", "tty", "pty", "pwd", "grp", "curses")
SIGNALS = (
    "SIGHUP",
    "SIGUSR1",
    "SIGUSR2",
    "SIGKILL",
    "SIGALRM",
    "SIGCHLD",
    "SIGPIPE",
    "SIGQUIT",
    "pthread_sigmask",
    "pthread_kill",
    "setitimer",
    "alarm",
)
FUNCTIONS = (
    "O_NOFOLLOW",
    "O_DIRECTORY",
    "O_NONBLOCK",
    "O_NOCTTY",
    "sched_yield",
    "sched_getaffinity",
    "sched_setaffinity",
    "sysconf",
    "memfd_create",
    "pread",
    "pwrite",
    "geteuid",
    "getuid",
    "getgid",
    "killpg",
    "getpgid",
    "setsid",
    "statvfs",
    "uname",
    "fchmod",
    "mkfifo",
    "getloadavg",
    "nice",
)

for name in MODULES:
    sys.modules[name] = None
for name in SIGNALS:
    vars(signal).pop(name, None)
for name in FUNCTIONS:
    vars(os).pop(name, None)
vars(faulthandler).pop("register", None)
os.supports_dir_fd, os.supports_follow_symlinks = set(), set()

original_open = os.open


def open_no_directory(path, flags, mode=0o777, *, dir_fd=None):
    """Replace `os.open` with the behaviour of Windows."""
    if dir_fd is not None:
        raise NotImplementedError("dir_fd unavailable on this platform")
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", str(path))
    if isinstance(path, (str, os.PathLike)) and str(path).startswith("/proc"):
        raise FileNotFoundError(2, "No such file or directory", str(path))
    return original_open(path, flags, mode)


def open_no_proc(file, *args, **kwargs):
    """Replace `open` with that of a system without /proc."""
    if isinstance(file, (str, os.PathLike)) and str(file).startswith("/proc"):
        raise FileNotFoundError(2, "No such file or directory", str(file))
    return io_open(file, *args, **kwargs)


io_open, os.open = io.open, open_no_directory
builtins.open = io.open = open_no_proc
