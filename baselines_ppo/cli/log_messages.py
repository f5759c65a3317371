"""Messages of the package's logger, as the command line prints them."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator


class MessageHandler(logging.Handler):
    """Prints warnings and errors to stderr, one line each.

    Args:
        format_message: function (text) -> line, such as one that puts the program's name before the text.
    """

    def __init__(self, format_message: Callable[[str], str]) -> None:
        super().__init__(logging.WARNING)
        self.format_message = format_message

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record; a closed stderr is ignored."""
        with contextlib.suppress(OSError, ValueError):
            print(self.format_message(record.getMessage()), file=sys.stderr, flush=True)


@contextlib.contextmanager
def messages_to_stderr(format_message: Callable[[str], str]) -> Iterator[None]:
    """Context manager in which the messages of the package's logger are printed.

    Args:
        format_message: as for `MessageHandler`.
    """
    logger = logging.getLogger("baselines_ppo")
    handler = MessageHandler(format_message)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class LineHandler(logging.Handler):
    """Prints messages as plain lines to stdout."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record; a closed stdout is ignored."""
        with contextlib.suppress(OSError, ValueError):
            print(record.getMessage(), flush=True)


@contextlib.contextmanager
def lines_to_stdout(name: str) -> Iterator[None]:
    """Context manager in which the messages of a logger, from level INFO on, are printed to stdout.

    Args:
        name: of the logger.
    """
    logger = logging.getLogger(name)
    handler, level = LineHandler(logging.INFO), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
