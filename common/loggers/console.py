"""Progress on the console as plain lines, and what these share with the live display: timing, columns, safe streams."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO

from common.formatting import format_duration, format_number
from common.loggers.logger import LoggerOutput

# column of the log -> its label on the console
DISPLAYED_COLUMNS = {
    "EpRewMean": "return",
    "EpLenMean": "length",
    "loss_kl": "kl",
    "clipfrac": "clipped",
    "loss_ent": "entropy",
    "ev_tdlam_before": "explained",
    "stepsize": "step size",
}


@contextlib.contextmanager
def tolerate_closed_stream(stream: TextIO | None = None) -> Iterator[None]:
    """Context manager for printing to a stream; stdout if None.

    If the stream fails (closed pipe, full disk), one warning goes to stderr, the stream is redirected to the null
    device, and the run continues.
    """
    stream = stream or sys.stdout
    try:
        yield
        stream.flush()
    except OSError as error:
        null_device = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null_device, stream.fileno())
        os.close(null_device)
        with contextlib.suppress(OSError):
            print(
                f"baselines_ppo: stdout is closed ({error.strerror}): progress output disabled, training continues",
                file=sys.__stderr__,
                flush=True,
            )


class ResilientStream:
    """A stream whose failures `tolerate_closed_stream` handles. Other attributes are those of the wrapped stream.

    Args:
        stream: the wrapped stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write text, and flush."""
        with tolerate_closed_stream(self.stream):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        with tolerate_closed_stream(self.stream):
            pass


def write_to_stderr(text: str) -> None:
    """Write a line to stderr without Python's buffers. Safe in a signal handler, which may interrupt another write."""
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())


class ProgressTimer:
    """Measures speed and remaining time, from the second row on, because the first iteration compiles.

    Args:
        progress: function that returns the fraction that is done, from 0 to 1.

    Attributes:
        done: fraction at the last `update`.
        speed: environment steps per second; NaN if unknown.
        left: remaining seconds; NaN if unknown.
    """

    def __init__(self, progress: Callable[[], float]) -> None:
        self.progress = progress
        self.started = time.monotonic()
        self.first: tuple[float, int, float] | None = None
        self.done, self.speed, self.left = 0.0, math.nan, math.nan

    def update(self, timesteps: int) -> None:
        """Record that a row was written at `timesteps`."""
        now = time.monotonic()
        self.done = min(self.progress(), 1.0)
        if self.first is None:
            self.first = now, timesteps, self.done
            return
        began, steps, done = self.first
        if now > began:
            self.speed = (timesteps - steps) / (now - began)
        if self.done > done:
            self.left = (1 - self.done) * (now - began) / (self.done - done)

    @property
    def elapsed(self) -> float:
        """Seconds since the display was created."""
        return time.monotonic() - self.started


class ProgressDisplay(LoggerOutput):
    """Base class of what shows progress to the user."""


class ProgressLines(ProgressDisplay):
    """Prints a line every `interval` seconds, and one at the end.

    Args:
        progress: function that returns the fraction that is done, from 0 to 1.
        interval: seconds between lines.
        stream: where lines go.
    """

    def __init__(self, progress: Callable[[], float], interval: float, stream: TextIO) -> None:
        self.timer = ProgressTimer(progress)
        self.interval = interval
        self.stream = stream
        self.last_line = -math.inf

    def write(self, row: Mapping[str, float], timesteps: int) -> None:
        """Print a line, if the last one is old enough or the training is complete."""
        self.timer.update(timesteps)
        now = time.monotonic()
        if now - self.last_line < self.interval and self.timer.done < 1:
            return
        self.last_line = now
        left = "" if math.isnan(self.timer.left) else f"  {format_duration(self.timer.left)} left"
        speed = "" if math.isnan(self.timer.speed) else f"{self.timer.speed:,.0f} steps/s  "
        metrics = "  ".join(
            f"{label} {format_number(row[name])}" for name, label in DISPLAYED_COLUMNS.items() if name in row
        )
        with tolerate_closed_stream(self.stream):
            print(
                f"{self.timer.done:4.0%}  {format_duration(self.timer.elapsed)}{left}  steps {timesteps:,}  "
                f"{speed}{metrics}",
                file=self.stream,
            )

    def notify(self, text: str) -> None:
        """Print a line to stderr."""
        write_to_stderr(text)
