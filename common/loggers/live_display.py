"""What a run shows on a terminal: one live view, redrawn in place. `screen` chooses between it and plain lines."""

import contextlib
import math
import os
import re
import sys

from common.formatting import format_duration, format_number
from common.loggers.console import SHOWN, ProgressLines, ProgressTimer, ResilientStream
from common.loggers.mpirun_terminal import find_mpirun_terminal

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60  # columns of the bar and the sparkline, where there are as many
MOVES_BACK = re.compile(r"\A\r\x1b\[2K(\x1b\[1A\x1b\[2K)*")  # as rich begins to redraw


def screen(progress, total="", interval=10.0, stream=None):
    """A `LiveDisplay` on a terminal, `ProgressLines` elsewhere; outputs of a `Logger`.

    Args:
        progress: function () -> part of the run that is done, 0 to 1.
        total: how long the run is, in words.
        interval: seconds between plain lines.
        stream: where to; if None stdout, and in a job the terminal to which its launcher passes that on.
    """
    passed_on, launcher = find_mpirun_terminal() if stream is None else (False, None)
    stream = stream or sys.stdout
    if launcher is not None and supports_live_display(launcher.stream):
        return LiveDisplay(progress, total, launcher.stream, launcher)
    return (
        ProgressLines(progress, interval, stream)
        if passed_on or not supports_live_display(stream)
        else LiveDisplay(progress, total, stream)
    )


def supports_live_display(stream):
    """Whether a stream is a terminal that moves its cursor (`TERM=dumb` has none that does) and shows what the view is made of."""
    if not stream.isatty():
        return False
    from rich.console import Console

    console = Console(file=stream)
    return console.is_interactive and console.encoding.startswith("utf")


def sparkline(values, width=WIDTH):
    """The last of a curve's values as bars, each the mean of as many neighbours as it takes to show them all in `width`."""
    values = [value for value in values if math.isfinite(value)]
    chunk = -(-len(values) // width) or 1
    means = [sum(part) / len(part) for part in (values[i : i + chunk] for i in range(0, len(values), chunk))]
    low, high = min(means, default=0.0), max(means, default=0.0)
    return "".join(
        BARS[int((value - low) / (high - low) * (len(BARS) - 1) + 0.5) if high > low else 0] for value in means
    )


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


class Shared(ResilientStream):
    """A launcher's terminal, on which other ranks write, too. What moves back over the last view does so only if nobody has written below that: it shall
    stay, and the view begins anew under it.

    Args:
        launcher: the `MpirunTerminal`.
    """

    def __init__(self, launcher):
        super().__init__(launcher.stream)
        self.launcher = launcher

    def write(self, text):
        """Write a view, or whatever it is."""
        return super().write(MOVES_BACK.sub("", text, count=1) if self.launcher.written_by_others() else text)


class LiveDisplay:
    """Bar, figures and the curve of the return, redrawn in place once a second: more would cost what it shows.

    Args:
        progress, total: as in `screen`.
        stream: a terminal.
        launcher: the `MpirunTerminal` whose it is, if it is one's.
    """

    def __init__(self, progress, total, stream, launcher=None):
        from rich.console import Console
        from rich.live import Live

        self.pace, self.total, self.row, self.timesteps, self.returns = ProgressTimer(progress), total, {}, 0, Curve()
        self.stream, self.launcher, self.note, self.closed = stream, launcher, "", False
        self.console = Console(file=Shared(launcher) if launcher else ResilientStream(stream))
        self.live = Live(
            get_renderable=self.render,
            console=self.console,
            refresh_per_second=1,
            redirect_stderr=launcher.shows_stderr if launcher else sys.stderr.isatty(),
        )
        self.live.start()
        self.console.show_cursor(True)  # a run that is killed could not bring it back

    def write(self, row, timesteps):
        """Take a row {name: number} of the log."""
        self.pace.update(timesteps)
        self.row, self.timesteps = row, timesteps
        self.returns.add(row["EpRewMean"])

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
        view = (
            self.figures()
            if self.row
            else [Text(f"first segment, and compiling: {format_duration(self.pace.elapsed)}", style="dim")]
        )
        return Group(
            *view, *([Text(self.note, style="yellow")] if self.note else []), *([] if self.closed else [Text("")])
        )

    def figures(self):
        """The view's lines, in the console's width."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        width = self.console.width
        top = Table.grid(padding=(0, 2))
        top.add_row(
            ProgressBar(total=1.0, completed=self.pace.done, width=max(1, min(WIDTH, width - 6))),
            f"{self.pace.done:.0%}",
        )
        speed = "" if math.isnan(self.pace.speed) else f"{self.pace.speed:,.0f} steps/s  "
        how_far = f"{self.timesteps:,}{self.total}  {speed}{format_duration(self.pace.elapsed)}, {format_duration(self.pace.left)} left"
        tables = []
        for cells in wrap_cells(
            [(label, format_number(self.row[name])) for name, label in SHOWN.items() if name in self.row], width
        ):
            table = Table.grid(padding=(0, 2))
            table.add_row(*(Text(label, style="dim") for label, _ in cells))
            table.add_row(*(value for _, value in cells))
            tables.append(table)
        return [
            top,
            Text(how_far),
            *tables,
            Text(sparkline(self.returns.points(), min(WIDTH, width)), style="green", no_wrap=True),
        ]

    def close(self):
        """Leave the view as it stands."""
        self.closed = True
        self.live.stop()
        if self.launcher:
            self.stream.close()


def wrap_cells(cells, width, gap=2):
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
