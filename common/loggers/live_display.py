"""Progress on a terminal: one display, redrawn in place. `make_progress_display` chooses between it and plain lines."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from common.formatting import format_duration, format_number
from common.loggers.console import DISPLAYED_COLUMNS, ProgressDisplay, ProgressLines, ProgressTimer, ResilientStream

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60  # maximum columns of the progress bar and the sparkline


def make_progress_display(
    progress: Callable[[], float], total: str = "", interval: float = 10.0, stream: TextIO | None = None
) -> LiveDisplay | ProgressLines:
    """Return a `LiveDisplay` if the stream is a terminal, else `ProgressLines`.

    Under an MPI launcher stdout is a pipe, so that ranks print plain lines.

    Args:
        progress: function that returns the fraction that is done, from 0 to 1.
        total: the length of the run as text, such as " of 1,000,000 steps".
        interval: seconds between plain lines.
        stream: where to print; stdout if None.
    """
    stream = stream or sys.stdout
    if supports_live_display(stream):
        return LiveDisplay(progress, total, stream)
    return ProgressLines(progress, interval, stream)


def supports_live_display(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can move the cursor (unlike `TERM=dumb`) and show Unicode bars."""
    if not stream.isatty():
        return False
    console = Console(file=stream)
    return console.is_interactive and console.encoding.startswith("utf")


def sparkline(values: Iterable[float], width: int = WIDTH) -> str:
    """Draw a curve as at most `width` bars. Each bar is the mean of equally many neighbouring values."""
    finite = [value for value in values if math.isfinite(value)]
    chunk = -(-len(finite) // width) or 1
    means = [sum(part) / len(part) for part in (finite[i : i + chunk] for i in range(0, len(finite), chunk))]
    low, high = min(means, default=0.0), max(means, default=0.0)
    levels = [(value - low) / (high - low) if high > low else 0.0 for value in means]
    return "".join(BARS[int(level * (len(BARS) - 1) + 0.5)] for level in levels)


class DownsampledSeries:
    """A series in fewer than 2 * `WIDTH` points, however long it grows. Each point is the mean of equally many values.

    Attributes:
        means: the complete points.
        values_per_point: how many values each point averages.
    """

    def __init__(self) -> None:
        self.means: list[float] = []
        self.values_per_point = 1
        self.total, self.count = 0.0, 0

    def add(self, value: float) -> None:
        """Add the next value; ignore it if it is not finite."""
        if not math.isfinite(value):
            return
        self.total += value
        self.count += 1
        if self.count == self.values_per_point:
            self.means.append(self.total / self.count)
            self.total, self.count = 0.0, 0
        if len(self.means) == 2 * WIDTH:
            self.means = [(a + b) / 2 for a, b in zip(self.means[::2], self.means[1::2])]
            self.values_per_point *= 2

    def points(self) -> list[float]:
        """Return the means, and the mean of the values of the incomplete last point."""
        return self.means + ([self.total / self.count] if self.count else [])


class LiveDisplay(ProgressDisplay):
    """Progress bar, metrics and the curve of the return, redrawn in place once per second.

    Args:
        progress, total: as for `make_progress_display`.
        stream: a terminal.
    """

    def __init__(self, progress: Callable[[], float], total: str, stream: TextIO) -> None:
        self.timer = ProgressTimer(progress)
        self.total = total
        self.row: Mapping[str, float] = {}
        self.timesteps = 0
        self.returns = DownsampledSeries()
        self.stream = stream
        self.note = ""
        self.closed = False
        self.console = Console(file=ResilientStream(stream))  # type: ignore[arg-type]
        self.live = Live(
            get_renderable=self.render,
            console=self.console,
            refresh_per_second=1,
            redirect_stderr=sys.stderr.isatty(),
        )
        self.live.start()
        self.console.show_cursor(True)  # a killed run could not show it again

    def write(self, row: Mapping[str, float], timesteps: int) -> None:
        """Store a row; the next redraw shows it."""
        self.timer.update(timesteps)
        self.row, self.timesteps = row, timesteps
        self.returns.add(row["EpRewMean"])

    def notify(self, text: str) -> None:
        """Show a line below the display, within a second."""
        self.note = text

    def render(self) -> RenderableType:
        """Return what the terminal shows now.

        It ends with an empty line: other processes, and the shell after a kill, then start on an empty line.
        """
        with contextlib.suppress(OSError):  # the stream is not a file
            columns, lines = os.get_terminal_size(self.stream.fileno())
            self.console.size = columns or 80, lines or 25  # type: ignore[assignment]
        if self.row:
            view = self.metrics()
        else:
            elapsed = format_duration(self.timer.elapsed)
            view = [Text(f"collecting the first segment and compiling: {elapsed}", style="dim")]
        note = [Text(self.note, style="yellow")] if self.note else []
        return Group(*view, *note, *([] if self.closed else [Text("")]))

    def metrics(self) -> list[RenderableType]:
        """Return the lines of the display, in the console's width."""
        width = self.console.width
        top = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=1.0, completed=self.timer.done, width=max(1, min(WIDTH, width - 6)))
        top.add_row(bar, f"{self.timer.done:.0%}")
        speed = "" if math.isnan(self.timer.speed) else f"{self.timer.speed:,.0f} steps/s  "
        times = f"{format_duration(self.timer.elapsed)}, {format_duration(self.timer.left)} left"
        cells = [
            (label, format_number(self.row[name])) for name, label in DISPLAYED_COLUMNS.items() if name in self.row
        ]
        tables = []
        for row in wrap_cells(cells, width):
            table = Table.grid(padding=(0, 2))
            table.add_row(*(Text(label, style="dim") for label, _ in row))
            table.add_row(*(value for _, value in row))
            tables.append(table)
        curve = sparkline(self.returns.points(), min(WIDTH, width))
        return [
            top,
            Text(f"{self.timesteps:,}{self.total}  {speed}{times}"),
            *tables,
            Text(curve, "green", no_wrap=True),
        ]

    def close(self) -> None:
        """Stop redrawing; the last display remains on the terminal."""
        self.closed = True
        self.live.stop()


def wrap_cells(cells: Sequence[tuple[str, ...]], width: int, gap: int = 2) -> list[list[tuple[str, ...]]]:
    """Distribute cells of texts over as few rows as possible, each at most `width` columns wide."""
    rows: list[list[tuple[str, ...]]] = [[]]
    used = 0
    for cell in cells:
        needed = max(map(len, cell))
        if rows[-1] and used + gap + needed > width:
            rows.append([])
            used = 0
        used += needed + (gap if rows[-1] else 0)
        rows[-1].append(cell)
    return rows
