"""Errors of a command: one line on stderr, and the exit status."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

from common.errors import UserError
from common.hints import in_flags

PROGRAM = "run.py"
USER_ERROR_STATUS = 2
INTERRUPTED_STATUS = 130


def format_error(error: object, program: str = PROGRAM) -> str:
    """Return an error as one line, with flags of the command line instead of arguments of `learn`."""
    return f"{program}: error: {in_flags(' '.join(str(error).split()))}"


def print_error(error: object, program: str = PROGRAM) -> None:
    """Print an error to stderr as one line; an stderr that cannot be written is ignored."""
    with contextlib.suppress(OSError):  # the exit status still reports the error
        print(format_error(error, program), file=sys.stderr, flush=True)


def run_command(command: Callable[[], int | None], program: str) -> int:
    """Run a command and return its exit status; report a `UserError` and an interruption in one line.

    Args:
        command: returns the exit status, or None for 0.
        program: name of the program in messages.
    """
    try:
        return command() or 0
    except UserError as error:
        print_error(error, program)
        return USER_ERROR_STATUS
    except KeyboardInterrupt:
        print_error("interrupted", program)
        return INTERRUPTED_STATUS
