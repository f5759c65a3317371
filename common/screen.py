"""What a run shows as it goes: one live view on a terminal, a plain line now and then elsewhere."""
import contextlib
import math
import os
import sys
import time

from common.launcher import launchers_terminal

# name in a row of the log -> what it is called on the screen
SHOWN = {"EpRewMean": "return", "EpLenMean": "length", "loss_kl": "kl", "clipfrac": "clipped", "loss_ent": "entropy", "ev_tdlam_before": "explained",
         "stepsize": "step size"}
BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60  # columns of the bar and the sparkline, where there are as many


def screen(progress, total="", interval=10.0, stream=None):
    """A `LiveView` on a terminal, `PlainLines` elsewhere; outputs of a `Logger`.

    Args:
        progress: function () -> part of the run that is done, 0 to 1.
        total: how long the run is, in words.
        interval: seconds between plain lines.
        stream: where to; if None stdout, and in a job the terminal to which its launcher passes that on.
    """
    launcher = launchers_terminal() if stream is None else None
    stream = stream or sys.stdout
    if launcher is not None and can_redraw(launcher.stream):
        return LiveView(progress, total, launcher.stream, launcher)
    return LiveView(progress, total, stream) if can_redraw(stream) else PlainLines(progress, interval, stream)


def can_redraw(stream):
    """Whether a stream is a terminal that moves its cursor (`TERM=dumb` has none that does) and shows what the view is made of."""
    if not stream.isatty():
        return False
    from rich.console import Console
    console = Console(file=stream)
    return console.is_interactive and console.encoding.startswith("utf")


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

    def say(self, text):
        """A line at once, from a signal handler, too: around the streams, which may be in the middle of another."""
        with contextlib.suppress(OSError):
            os.write(2, f"{text}\n".encode())

    def close(self):
        """Nothing is held open."""


class LiveView:
    """Bar, figures and the curve of the return, redrawn in place once a second: more would cost what it shows.

    Args:
        progress, total: as in `screen`.
        stream: a terminal.
        launcher: the `LaunchersTerminal` whose it is, if it is one's.
    """

    def __init__(self, progress, total, stream, launcher=None):
        from rich.console import Console
        from rich.live import Live
        self.pace, self.total, self.row, self.timesteps, self.returns = Pace(progress), total, {}, 0, []
        self.stream, self.launcher, self.note, self.closed = stream, launcher, "", False
        self.console = Console(file=Lasting(stream))
        self.live = Live(get_renderable=self.render, console=self.console, refresh_per_second=1,
                         redirect_stderr=launcher.takes_errors if launcher else sys.stderr.isatty())
        self.live.start()
        self.console.show_cursor(True)  # a run that is killed could not bring it back
        self.console.push_render_hook(self)

    def process_renderables(self, renderables):
        """A hook of rich's: what goes to the screen next, of which the first moves the cursor back to where the last view began. If somebody else has
        written since, that was below it, and shall stay: the view begins anew."""
        return renderables[1:] if self.launcher and self.launcher.others_wrote() else renderables

    def write(self, row, timesteps):
        """Take a row {name: number} of the log."""
        self.pace.update(timesteps)
        self.row, self.timesteps = row, timesteps
        self.returns.append(row["EpRewMean"])

    def say(self, text):
        """A line below the view, within a second; from a signal handler, too."""
        self.note = text

    def render(self):
        """What is on the screen now. It ends with an empty line, so that what others write, and the shell after a kill, has one of its own."""
        from rich.console import Group
        from rich.text import Text
        with contextlib.suppress(OSError):  # of a stream that is no file
            columns, lines = os.get_terminal_size(self.stream.fileno())
            self.console.size = columns or 80, lines or 25
        view = self.figures() if self.row else [Text(f"first segment, and compiling: {clock(self.pace.elapsed)}", style="dim")]
        return Group(*view, *([Text(self.note, style="yellow")] if self.note else []), *([] if self.closed else [Text("")]))

    def figures(self):
        """The view's lines, in the console's width."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text
        width = self.console.width
        top = Table.grid(padding=(0, 2))
        top.add_row(ProgressBar(total=1.0, completed=self.pace.done, width=max(1, min(WIDTH, width - 6))), f"{self.pace.done:.0%}")
        speed = "" if math.isnan(self.pace.speed) else f"{self.pace.speed:,.0f} steps/s  "
        how_far = f"{self.timesteps:,}{self.total}  {speed}{clock(self.pace.elapsed)}, {clock(self.pace.left)} left"
        tables = []
        for cells in in_rows([(label, number(self.row[name])) for name, label in SHOWN.items() if name in self.row], width):
            table = Table.grid(padding=(0, 2))
            table.add_row(*(Text(label, style="dim") for label, _ in cells))
            table.add_row(*(value for _, value in cells))
            tables.append(table)
        return [top, Text(how_far), *tables, Text(sparkline(self.returns, min(WIDTH, width)), style="green", no_wrap=True)]

    def close(self):
        """Leave the view as it stands."""
        if not self.closed:
            self.closed = True
            self.live.refresh()
            self.console.pop_render_hook()
            self.live.stop()
            if self.launcher:
                self.stream.close()


def in_rows(cells, width, gap=2):
    """Cells of texts, parted into as few rows as it takes for each to fit into a width."""
    rows, used = [[]], 0
    for cell in cells:
        needed = max(map(len, cell))
        if rows[-1] and used + gap + needed > width:
            rows.append([])
            used = 0
        used += needed + (gap if rows[-1] else 0)
        rows[-1].append(cell)
    return rows
