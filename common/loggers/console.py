"""What a run shows as it goes, in plain lines, and what these have in common with the live view (`common.loggers.live_display`): figures, pace, streams that last."""

import contextlib
import math
import os
import sys
import time

from common.formatting import format_duration, format_number

# name in a row of the log -> what it is called on the screen
SHOWN = {
    "EpRewMean": "return",
    "EpLenMean": "length",
    "loss_kl": "kl",
    "clipfrac": "clipped",
    "loss_ent": "entropy",
    "ev_tdlam_before": "explained",
    "stepsize": "step size",
}


@contextlib.contextmanager
def tolerate_closed_stream(stream=None):
    """A block that prints to a stream, stdout if None. One that takes no more, because its reader is gone or its disk is full, does not end a run:
    that is said once, and the rest goes nowhere."""
    stream = stream or sys.stdout
    try:
        yield
        stream.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        with contextlib.suppress(OSError):
            print(
                f"baselines_ppo: standard output takes no more ({error.strerror}): nothing further is shown, the run goes on",
                file=sys.__stderr__,
                flush=True,
            )


class ResilientStream:
    """A stream that is written to under `tolerate_closed_stream`; everything else of it is its own."""

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, text):
        """Write `text`, and whatever is kept back."""
        with tolerate_closed_stream(self.stream):
            self.stream.write(text)
        return len(text)

    def flush(self):
        """Write whatever is kept back."""
        with tolerate_closed_stream(self.stream):
            pass


def say(text):
    """Write a line to standard error at once, from a signal handler, too: around the streams, which may be in the middle of another."""
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())


class ProgressTimer:
    """Speed and time left of a run, from its second row on: the first iteration compiles."""

    def __init__(self, progress):
        self.progress, self.started, self.first = progress, time.monotonic(), None
        self.done, self.speed, self.left = 0.0, math.nan, math.nan

    def update(self, timesteps):
        """Take note of a row at `timesteps`."""
        now, self.done = time.monotonic(), min(self.progress(), 1.0)
        if self.first is None:
            self.first = now, timesteps, self.done
            return
        began, steps, done = self.first
        if now > began:
            self.speed = (timesteps - steps) / (now - began)
        if self.done > done:
            self.left = (1 - self.done) * (now - began) / (self.done - done)

    @property
    def elapsed(self):
        """Seconds since the screen was made."""
        return time.monotonic() - self.started


class ProgressLines:
    """A line every `interval` seconds, and one at the end. Arguments as in `screen`."""

    def __init__(self, progress, interval, stream):
        self.pace, self.interval, self.stream, self.last_line = ProgressTimer(progress), interval, stream, -math.inf

    def write(self, row, timesteps):
        """Take a row {name: number} of the log."""
        self.pace.update(timesteps)
        now = time.monotonic()
        if now - self.last_line < self.interval and self.pace.done < 1:
            return
        self.last_line = now
        left = "" if math.isnan(self.pace.left) else f"  {format_duration(self.pace.left)} left"
        speed = "" if math.isnan(self.pace.speed) else f"{self.pace.speed:,.0f} steps/s  "
        figures = "  ".join(f"{label} {format_number(row[name])}" for name, label in SHOWN.items() if name in row)
        with tolerate_closed_stream(self.stream):
            print(
                f"{self.pace.done:4.0%}  {format_duration(self.pace.elapsed)}{left}  steps {timesteps:,}  {speed}{figures}",
                file=self.stream,
            )

    def say(self, text):
        """As `say`."""
        say(text)

    def close(self):
        """Nothing is held open."""
