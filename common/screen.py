"""What a run shows as it goes: one live view on a terminal, a plain line now and then elsewhere."""
import contextlib
import math
import os
import sys
import time

# name in a row of the log -> what it is called on the screen
SHOWN = {"EpRewMean": "return", "EpLenMean": "length", "loss_kl": "kl", "clipfrac": "clipped", "loss_ent": "entropy", "ev_tdlam_before": "explained",
         "stepsize": "step size"}
BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60  # columns of the bar and the sparkline


def screen(progress, total="", interval=10.0, stream=None):
    """A `LiveView` on a terminal, `PlainLines` elsewhere; outputs of a `Logger`.

    Args:
        progress: function () -> part of the run that is done, 0 to 1.
        total: how long the run is, in words.
        interval: seconds between plain lines.
        stream: where to; stdout if None.
    """
    stream = stream or sys.stdout
    return LiveView(progress, total, stream) if stream.isatty() else PlainLines(progress, interval, stream)


@contextlib.contextmanager
def showing(stream=None):
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
            print(f"run.py: standard output takes no more ({error.strerror}): nothing further is shown, the run goes on", file=sys.__stderr__, flush=True)


class Lasting:
    """A stream that is written to under `showing`; everything else of it is its own."""

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, text):
        """Write `text`, and whatever is kept back."""
        with showing(self.stream):
            self.stream.write(text)
        return len(text)

    def flush(self):
        """Write whatever is kept back."""
        with showing(self.stream):
            pass


def number(value):
    """A number of a row, short."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def clock(seconds):
    """Seconds as h:mm:ss; "-:--:--" for what is not known."""
    return "-:--:--" if math.isnan(seconds) else f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"


def sparkline(values, width=WIDTH):
    """The last of a curve's values as bars, each the mean of as many neighbours as it takes to show them all in `width`."""
    values = [value for value in values if math.isfinite(value)]
    chunk = -(-len(values) // width) or 1
    means = [sum(part) / len(part) for part in (values[i:i + chunk] for i in range(0, len(values), chunk))]
    low, high = min(means, default=0.0), max(means, default=0.0)
    return "".join(BARS[int((value - low) / (high - low) * (len(BARS) - 1) + 0.5) if high > low else 0] for value in means)


class Curve:
    """A curve in fewer than 2 * `WIDTH` points, however long it becomes: each is the mean of as many neighbours."""

    def __init__(self):
        self.means, self.each, self.total, self.count = [], 1, 0.0, 0

    def add(self, value):
        """Take the next value, if it is one."""
        if not math.isfinite(value):
            return
        self.total, self.count = self.total + value, self.count + 1
        if self.count == self.each:
            self.means.append(self.total / self.count)
            self.total, self.count = 0.0, 0
        if len(self.means) == 2 * WIDTH:
            self.means, self.each = [(a + b) / 2 for a, b in zip(self.means[::2], self.means[1::2])], 2 * self.each

    def points(self):
        """The means, and that of the values that do not make one yet."""
        return self.means + ([self.total / self.count] if self.count else [])


class Pace:
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


class PlainLines:
    """A line every `interval` seconds, and one at the end. Arguments as in `screen`."""

    def __init__(self, progress, interval, stream):
        self.pace, self.interval, self.stream, self.last_line = Pace(progress), interval, stream, -math.inf

    def write(self, row, timesteps):
        """Take a row {name: number} of the log."""
        self.pace.update(timesteps)
        now = time.monotonic()
        if now - self.last_line < self.interval and self.pace.done < 1:
            return
        self.last_line = now
        left = "" if math.isnan(self.pace.left) else f"  {clock(self.pace.left)} left"
        speed = "" if math.isnan(self.pace.speed) else f"{self.pace.speed:,.0f} steps/s  "
        figures = "  ".join(f"{label} {number(row[name])}" for name, label in SHOWN.items() if name in row)
        with showing(self.stream):
            print(f"{self.pace.done:4.0%}  {clock(self.pace.elapsed)}{left}  steps {timesteps:,}  {speed}{figures}", file=self.stream)

    def close(self):
        """Nothing is held open."""


class LiveView:
    """Bar, figures and the curve of the return, redrawn in place once a second: more would cost what it shows. Arguments as in `screen`."""

    def __init__(self, progress, total, stream):
        from rich.console import Console
        from rich.live import Live
        self.pace, self.total, self.row, self.timesteps, self.returns = Pace(progress), total, {}, 0, Curve()
        self.live = Live(get_renderable=self.render, console=Console(file=Lasting(stream)), refresh_per_second=1)
        self.live.start()

    def write(self, row, timesteps):
        """Take a row {name: number} of the log."""
        self.pace.update(timesteps)
        self.row, self.timesteps = row, timesteps
        self.returns.add(row["EpRewMean"])

    def render(self):
        """What is on the screen now."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text
        if not self.row:
            return Text(f"first segment, and compiling: {clock(self.pace.elapsed)}", style="dim")
        top = Table.grid(padding=(0, 2))
        top.add_row(ProgressBar(total=1.0, completed=self.pace.done, width=WIDTH), f"{self.pace.done:.0%}")
        speed = "" if math.isnan(self.pace.speed) else f"{self.pace.speed:,.0f} steps/s  "
        how_far = f"{self.timesteps:,}{self.total}  {speed}{clock(self.pace.elapsed)}, {clock(self.pace.left)} left"
        figures = Table.grid(padding=(0, 2))
        shown = [(label, number(self.row[name])) for name, label in SHOWN.items() if name in self.row]
        figures.add_row(*(Text(label, style="dim") for label, _ in shown))
        figures.add_row(*(value for _, value in shown))
        return Group(top, Text(how_far), figures, Text(sparkline(self.returns.points()), style="green", no_wrap=True))

    def close(self):
        """Leave the view as it stands."""
        self.live.stop()
