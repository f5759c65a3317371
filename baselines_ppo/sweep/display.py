"""What a sweep shows: on a terminal one live table, a row for each combination of settings; elsewhere a line for each run that starts or ends."""

import math
import statistics
import sys
import time

from baselines_ppo.cli.command_lines import format_value
from common.formatting import format_duration, format_number

REFRESH_SECONDS = 2.0  # seconds between looks at the logs of the runs under way
STATES = ("done", "running", "failed")


class SweepStatus:
    """Where every run of a sweep stands.

    Args:
        runs: all of them.
        shown: the settings that tell the table's rows apart.
        standing: function run -> its `RunProgress`.
        figures: {name: final figures} of the runs that are done already.
    """

    def __init__(self, runs, shown, standing, figures):
        self.runs, self.shown, self.read = runs, shown, standing
        self.figures = dict(figures)
        self.states = {run.name: "done" if run.name in figures else "waiting" for run in runs}
        self.standings = {run.name: standing(run) for run in runs if run.name not in figures}
        self.fractions = {name: one.fraction for name, one in self.standings.items()}  # where this sitting found them
        self.first, self.began = {}, time.monotonic()

    def look(self, running):
        """Read the logs of the runs under way."""
        for run in running:
            now = self.standings[run.name] = self.read(run)
            first = self.first.get(run.name)
            if now.steps and (
                first is None or now.steps < first.steps
            ):  # a resumed run's log is cut back to its checkpoint
                self.first[run.name] = now

    def speed(self, name):
        """Steps a second of a run under way, from the second row that was seen of it on; nan before."""
        if name not in self.first or self.standings[name].seconds <= self.first[name].seconds:
            return math.nan
        first, now = self.first[name], self.standings[name]
        return (now.steps - first.steps) / (now.seconds - first.seconds)

    def counts(self):
        """{state: number of runs}."""
        return {state: sum(one == state for one in self.states.values()) for state in ("waiting", "stopped", *STATES)}

    def left(self):
        """Seconds that the whole still takes, at the pace of this sitting; nan before there is one."""
        gained = rest = 0.0
        for run in self.runs:
            weight = run.config.run.num_timesteps or 1
            if run.name in self.fractions:
                fraction = 1.0 if self.states[run.name] == "done" else self.standings[run.name].fraction
                gained += weight * max(fraction - self.fractions[run.name], 0.0)
                rest += weight * (1.0 - fraction) * (self.states[run.name] != "failed")
        return rest * (time.monotonic() - self.began) / gained if gained else math.nan

    def summary(self):
        """The whole, in a line."""
        counts, total = self.counts(), len(self.runs)
        failed = f", {counts['failed']} failed" if counts["failed"] else ""
        left = f", {format_duration(self.left())} left" if counts["waiting"] + counts["running"] else ""
        return f"{counts['done']} of {total} runs done{failed}; {format_duration(time.monotonic() - self.began)}{left}"

    def table(self):
        """The rich table."""
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, caption=self.summary(), caption_justify="left")
        for name in self.shown:
            table.add_column(name, overflow="fold")
        for name in (*STATES, "return", "steps under way", "steps/s"):
            table.add_column(name, justify="right")
        rows = {}
        for run in self.runs:
            rows.setdefault(tuple(format_value(run.typed[name]) for name in self.shown), []).append(run.name)
        for label, names in rows.items():
            table.add_row(*label, *self.cells(names))
        return table

    def cells(self, names):
        """A row's figures, of the runs of one combination of settings."""
        of = {state: [name for name in names if self.states[name] == state] for state in STATES}
        returns = [
            self.figures[name]["mean_return"] for name in of["done"] if self.figures[name]["mean_return"] is not None
        ]
        steps = sum(self.standings[name].steps for name in of["running"])
        speeds = [speed for speed in map(self.speed, of["running"]) if not math.isnan(speed)]
        return (
            f"{len(of['done'])}/{len(names)}",
            str(len(of["running"]) or ""),
            str(len(of["failed"]) or ""),
            mean_and_deviation(returns),
            f"{steps:,}" if of["running"] else "",
            f"{sum(speeds):,.0f}" if speeds else "",
        )


def mean_and_deviation(values):
    """The mean of some numbers ± their sample deviation, as text."""
    if not values:
        return ""
    return format_number(float(statistics.fmean(values))) + (
        f" ± {format_number(float(statistics.stdev(values)))}" if len(values) > 1 else ""
    )


class SweepDisplay:
    """Shows a `SweepStatus` as its runs come and go.

    Args:
        board: the board.
        stream: where to; stdout if None.
    """

    def __init__(self, board, stream=None):
        from rich.console import Console
        from rich.live import Live

        self.board, self.stream = board, stream or sys.stdout
        self.live, self.looked = None, -math.inf
        self.console = Console(file=self.stream) if self.stream.isatty() else Console(file=self.stream, width=140)
        if self.console.is_interactive:
            self.live = Live(
                get_renderable=board.table, console=self.console, auto_refresh=False
            )  # no thread: children are forked from this process

    def __enter__(self):
        if self.live:
            self.live.start(refresh=True)
        return self

    def __exit__(self, *exception):
        if self.live:
            self.live.stop()  # the table stays
        else:
            self.console.print(self.board.table())

    def say(self, text):
        """A line; above the table, where that is live."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def started(self, run):
        """A run has been started."""
        again = self.board.standings[run.name].steps
        self.board.states[run.name] = "running"
        if not self.live:
            self.say(f"{run.name}: {f'goes on, {again:,} steps are done' if again else 'starts'}")

    def finished(self, run, figures):
        """A run has ended well."""
        self.board.states[run.name], self.board.figures[run.name] = "done", figures
        if not self.live:
            found = (
                "no episode ended"
                if figures["mean_return"] is None
                else f"mean return {format_number(float(figures['mean_return']))}"
            )
            self.say(
                f"{run.name}: {found}, {figures['steps']:,} steps in {figures['seconds']:.0f} s; {self.board.summary()}"
            )

    def failed(self, run, why):
        """A run has ended otherwise."""
        self.board.states[run.name] = "failed"
        self.say(f"{run.name}: failed, {why}")

    def stopped(self, run):
        """A run has ended because it was asked to."""
        self.board.states[run.name] = "stopped"

    def stopping(self, running):
        """The runs under way have been asked to end."""
        self.say(
            f"stopping: {running} run{'s' * (running != 1)} will finish an iteration and write a checkpoint; once more, and they are killed"
        )

    def look(self, running):
        """Called all the time with the runs under way; reads and draws now and then."""
        now = time.monotonic()
        if now - self.looked >= REFRESH_SECONDS:
            self.looked = now
            self.board.look(running)
            if self.live:
                self.live.refresh()
