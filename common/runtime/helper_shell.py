"""A small shell process that reads a pipe and outlives this process for as long as that takes.

No Python code runs after a fatal signal, nor in any thread while another one holds Python's global lock. `faulthandler`
still writes to a file descriptor then; the shell at the other end of the pipe acts on what arrives.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys

SHELL = "sh"
EXIT_TIMEOUT = 1.0  # seconds; a forked child may also hold the pipe open


class HelperShell:
    """A shell that runs a script with a pipe as its standard input.

    Args:
        name: the process's name ($0).
        script: the script; it ends when the pipe is closed.
        arguments: $1, $2, ...
        stderr: descriptor of the script's standard error.

    Attributes:
        pipe: the descriptor to write to; -1 once it is closed.

    Raises:
        OSError: if there is no shell, or no process can be started.
    """

    def __init__(self, name: str, script: str, arguments: list[str], stderr: int):
        shell = shutil.which(SHELL)
        if shell is None or os.name != "posix":
            raise FileNotFoundError(SHELL)
        read_end, self.pipe = os.pipe()
        try:
            # own session: signals of the terminal and of the process group are not meant for it
            # cwd /: it keeps no file system busy
            self.process = subprocess.Popen(
                [shell, "-c", script, name, *arguments],
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath)},
                start_new_session=True,
            )
        except BaseException:
            os.close(self.pipe)
            raise
        finally:
            os.close(read_end)

    def close(self) -> None:
        """Close the pipe, which ends the script; the caller lets one thread at a time call it."""
        pipe, self.pipe = self.pipe, -1
        if pipe >= 0:
            os.close(pipe)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(EXIT_TIMEOUT)


def duplicate_stderr() -> int:
    """Return a descriptor of this process's standard error that later redirections do not affect.

    It leads to /dev/null if the process has none.
    """
    for stream in (sys.stderr, sys.__stderr__):  # in a notebook, sys.stderr has no descriptor
        if stream is not None:
            with contextlib.suppress(AttributeError, OSError, ValueError):
                return os.dup(stream.fileno())
    return os.open(os.devnull, os.O_WRONLY)
