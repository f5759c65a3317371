"""A system that has nothing of what POSIX alone has, as far as that can be had here: to be imported before anything else."""

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

opened, fsync = os.open, os.fsync


def open_no_folder(path, flags, mode=0o777, *, dir_fd=None):
    """`os.open` as Windows has it."""
    if dir_fd is not None:
        raise NotImplementedError("dir_fd unavailable on this platform")
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", str(path))
    if isinstance(path, (str, os.PathLike)) and str(path).startswith("/proc"):
        raise FileNotFoundError(2, "No such file or directory", str(path))
    return opened(path, flags, mode)


def open_no_proc(file, *args, **kwargs):
    """`open` where there is no /proc."""
    if isinstance(file, (str, os.PathLike)) and str(file).startswith("/proc"):
        raise FileNotFoundError(2, "No such file or directory", str(file))
    return io_open(file, *args, **kwargs)


io_open, os.open = io.open, open_no_folder
builtins.open = io.open = open_no_proc
