"""Shows a sweep: on a terminal one table with a row for each combination of settings, elsewhere lines."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from baselines_ppo.cli.command_lines import format_value
from baselines_ppo.sweep.directory import RunProgress
from baselines_ppo.sweep.plan import SweepRun
from common.formatting import format_duration, format_number

if TYPE_CHECKING:
    from rich.table import Table

REFRESH_SECONDS = 2.0  # between two readings of the logs of running runs
STATES = ("done", "running", "failed")


class SweepStatus:
    """The state of every run of a sweep.

    Args:
        runs: all runs.
        shown: the settings that distinguish the table's rows.
        read_progress: function that returns a run's progress.
        metrics: {name: final metrics} of the runs that are done already.

    Attributes:
        states: {name: "waiting", "running", "done", "failed" or "stopped"}.
        progress: {name: progress} of runs that were not done at the start.
    """

    def __init__(
        self,
        runs: Sequence[SweepRun],
        shown: Sequence[str],
        read_progress: Callable[[SweepRun], RunProgress],
        metrics: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.runs, self.shown, self.read_progress = runs, shown, read_progress
        self.metrics = dict(metrics)
        self.states = {run.name: "done" if run.name in metrics else "waiting" for run in runs}
        self.progress = {run.name: read_progress(run) for run in runs if run.name not in metrics}
        self.initial_fractions = {name: one.fraction for name, one in self.progress.items()}
        self.first: dict[str, RunProgress] = {}  # the first progress that was read of a running run
        self.began = time.monotonic()

    def update(self, running: Sequence[SweepRun]) -> None:
        """Read the logs of the running runs."""
        for run in running:
            now = self.progress[run.name] = self.read_progress(run)
            first = self.first.get(run.name)
            # the log of a resumed run is truncated to its checkpoint
            if now.steps and (first is None or now.steps < first.steps):
                self.first[run.name] = now

    def speed(self, name: str) -> float:
        """Return steps per second of a running run, from the second row on that was read; NaN before."""
        if name not in self.first or self.progress[name].seconds <= self.first[name].seconds:
            return math.nan
        first, now = self.first[name], self.progress[name]
        return (now.steps - first.steps) / (now.seconds - first.seconds)

    def counts(self) -> dict[str, int]:
        """Return {state: number of runs}."""
        return {state: sum(one == state for one in self.states.values()) for state in ("waiting", "stopped", *STATES)}

    def left(self) -> float:
        """Return the remaining seconds at the speed since this process started; NaN if that is unknown."""
        gained = rest = 0.0
        for run in self.runs:
            weight = run.config.run.num_timesteps or 1
            if run.name in self.initial_fractions:
                fraction = 1.0 if self.states[run.name] == "done" else self.progress[run.name].fraction
                gained += weight * max(fraction - self.initial_fractions[run.name], 0.0)
                rest += weight * (1.0 - fraction) * (self.states[run.name] != "failed")
        return rest * (time.monotonic() - self.began) / gained if gained else math.nan

    def summary(self) -> str:
        """Return one line about the whole sweep."""
        counts, total = self.counts(), len(self.runs)
        failed = f", {counts['failed']} failed" if counts["failed"] else ""
        left = f", {format_duration(self.left())} left" if counts["waiting"] + counts["running"] else ""
        return f"{counts['done']} of {total} runs done{failed}; {format_duration(time.monotonic() - self.began)}{left}"

    def label(self, run: SweepRun) -> tuple[str, ...]:
        """Return the first cells of a run's row, one for each column in `shown`."""
        return tuple(format_value(run.explicit[name]) for name in self.shown)

    def table(self) -> Table:
        """Return the table, with a row for each combination of settings but the seed."""
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, caption=self.summary(), caption_justify="left")
        for name in self.shown:
            table.add_column(name, overflow="fold")
        for name in (*STATES, "return", "running steps", "steps/s"):
            table.add_column(name, justify="right")
        rows: dict[tuple[str, ...], list[str]] = {}
        for run in self.runs:
            rows.setdefault(self.label(run), []).append(run.name)
        for label, names in rows.items():
            table.add_row(*label, *self.cells(names))
        return table

    def cells(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the cells of a row, about the runs `names` of one combination of settings."""
        by_state = {state: [name for name in names if self.states[name] == state] for state in STATES}
        returns = [self.metrics[name]["mean_return"] for name in by_state["done"]]
        steps = sum(self.progress[name].steps for name in by_state["running"])
        speeds = [speed for speed in map(self.speed, by_state["running"]) if not math.isnan(speed)]
        return (
            f"{len(by_state['done'])}/{len(names)}",
            str(len(by_state["running"]) or ""),
            str(len(by_state["failed"]) or ""),
            format_mean_and_std([one for one in returns if one is not None]),
            f"{steps:,}" if by_state["running"] else "",
            f"{sum(speeds):,.0f}" if speeds else "",
        )


def format_mean_and_std(values: Sequence[float]) -> str:
    """Return the mean ± the sample standard deviation of some numbers as text; an empty text for no numbers."""
    if not values:
        return ""
    deviation = f" ± {format_number(float(statistics.stdev(values)))}" if len(values) > 1 else ""
    return format_number(float(statistics.fmean(values))) + deviation


class SweepDisplay:
    """Shows a `SweepStatus` while its runs start and end. A context manager.

    Args:
        status: the status.
        stream: where to print; stdout if None.
    """

    def __init__(self, status: SweepStatus, stream: TextIO | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self.status, self.stream = status, stream or sys.stdout
        self.last_refresh = -math.inf
        self.console = Console(file=self.stream) if self.stream.isatty() else Console(file=self.stream, width=140)
        self.live: Live | None = None
        if self.console.is_interactive:
            # without a thread, because children are forked from this process
            self.live = Live(get_renderable=status.table, console=self.console, auto_refresh=False)

    def __enter__(self) -> SweepDisplay:
        if self.live:
            self.live.start(refresh=True)
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.stop()  # the table remains
        else:
            self.console.print(self.status.table())

    def print_line(self, text: str) -> None:
        """Print a line; on a terminal above the table."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def started(self, run: SweepRun) -> None:
        """Show that a run has started."""
        steps = self.status.progress[run.name].steps
        self.status.states[run.name] = "running"
        if not self.live:
            self.print_line(f"{run.name}: {f'resumed after {steps:,} steps' if steps else 'started'}")

    def finished(self, run: SweepRun, metrics: Mapping[str, Any]) -> None:
        """Show that a run has ended normally."""
        self.status.states[run.name], self.status.metrics[run.name] = "done", metrics
        if self.live:
            return
        found = "no episode ended"
        if metrics["mean_return"] is not None:
            found = f"mean return {format_number(float(metrics['mean_return']))}"
        seconds = f"{metrics['steps']:,} steps in {metrics['seconds']:.0f} s"
        self.print_line(f"{run.name}: {found}, {seconds}; {self.status.summary()}")

    def failed(self, run: SweepRun, reason: object) -> None:
        """Show that a run has failed."""
        self.status.states[run.name] = "failed"
        self.print_line(f"{run.name}: failed, {reason}")

    def stopped(self, run: SweepRun) -> None:
        """Record that a run has ended because it was asked to."""
        self.status.states[run.name] = "stopped"

    def stopping(self, running: int) -> None:
        """Show that the running runs have been asked to end."""
        self.print_line(
            f"stopping: {running} run{'s' * (running != 1)} will finish an iteration and write a checkpoint; a second "
            "signal kills them"
        )

    def refresh(self, running: Sequence[SweepRun]) -> None:
        """Read the logs of the running runs and redraw, if the last time is long enough ago. Call it often."""
        now = time.monotonic()
        if now - self.last_refresh >= REFRESH_SECONDS:
            self.last_refresh = now
            self.status.update(running)
            if self.live:
                self.live.refresh()
