"""What was measured, as text: medians, per-round ratios against their targets, and how busy the machine was with other work."""

import os
import resource
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

QUIET = 0.2  # cores: with more than this busy elsewhere, figures say little


@dataclass(frozen=True)
class Target:
    """A promise about two contestants, or about one figure of one of them.

    Attributes:
        ours: the contestant's name.
        other: whom its steps per second are divided by, round by round; None for a figure of its own.
        least: the ratio promised; 0 promises none.
        figure, most: the figure promised to be at most this, where `other` is None.
    """

    ours: str
    other: str | None = None
    least: float = 0.0
    figure: str = ""
    most: float = 0.0

    def judge(self, rounds):
        """(label, value in each round, median, what is promised, 'met' or 'MISSED'; both empty where nothing is promised).

        Args:
            rounds: [{contestant: figures}].
        """
        if self.other is None:
            values = [one[self.ours][self.figure] for one in rounds]
            median = statistics.median(values)
            label = f"{self.ours}: {self.figure.replace('_', ' ')}, s"
            return label, values, median, f"<= {self.most:g}", "met" if median <= self.most else "MISSED"
        values = [one[self.ours]["steps_per_second"] / one[self.other]["steps_per_second"] for one in rounds]
        median = statistics.median(values)
        label = f"{self.ours} / {self.other}"
        if not self.least:
            return label, values, median, "", ""
        return label, values, median, f">= {self.least:g}", "met" if median >= self.least else "MISSED"


class Load:
    """How many cores other work kept busy meanwhile: the machine's time less our children's. On Linux; elsewhere None."""

    def __init__(self):
        self.began, self.busy, self.own = time.perf_counter(), self._busy(), self._own()

    @staticmethod
    def _busy():
        stat = Path("/proc/stat")
        if not stat.exists():
            return None
        user, nice, system, _, _, *rest = (int(word) for word in stat.read_text().split("\n", 1)[0].split()[1:9])
        return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def _own():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def others(self):
        """Cores busy with other work since this was made; children that still run count as others."""
        if self.busy is None:
            return None
        return max(self._busy() - self.busy - (self._own() - self.own), 0.0) / (time.perf_counter() - self.began)


def profile_lines(title, parts):
    """The profile of one iteration; `parts` as `measurements.profile` gives it."""
    yield f"{title}, one iteration by part"
    for part, seconds in parts.items():
        yield f"  {part:<48}{1000 * seconds:>9.1f} ms{100 * seconds / parts['all']:>7.1f} %"


def figure_lines(title, rounds):
    """Steps per second and start-up of every contestant: the median over rounds, and the range."""
    yield f"{title:<56}{'steps/s':>9}{'range':>17}{'first update':>14}{'compile':>10}{'others':>8}"
    for name in rounds[0]:
        found = [one[name] for one in rounds]
        speeds = [one["steps_per_second"] for one in found]
        line = f"  {name:<54}{statistics.median(speeds):>9,.0f}{f'{min(speeds):,.0f} - {max(speeds):,.0f}':>17}"
        for key, width, unit in (("first_update", 14, " s"), ("compile", 10, " s"), ("others", 8, "")):
            values = [one[key] for one in found if one.get(key) is not None]
            line += f"{statistics.median(values):.1f}{unit}".rjust(width) if values else " " * width
        yield line


def target_lines(title, rounds, targets):
    """Every ratio and limit: its median, what is promised, and each round's."""
    yield f"{title:<56}{'median':>9}{'target':>9}{'':>10}each round"
    for target in targets:
        label, values, median, promised, verdict = target.judge(rounds)
        yield f"  {label:<54}{median:>9.2f}{promised:>9}{verdict:>8}  {' '.join(f'{one:.2f}' for one in values)}"


def machine_lines(started_load, results):
    """Cores and load, at the start and now, and a warning if other work kept cores busy in the median measurement."""
    start, now = (" ".join(f"{one:.1f}" for one in load) for load in (started_load, os.getloadavg()))
    yield f"machine: {len(os.sched_getaffinity(0))} cores; load average {start} at the start, {now} now, the benchmark's own among it"
    others = [
        one["others"]
        for rounds in results.values()
        for found in rounds
        for one in found.values()
        if one["others"] is not None
    ]
    if others and statistics.median(others) > QUIET:
        yield f"OTHER WORK kept {statistics.median(others):.1f} cores busy meanwhile (column 'others'): run it again on a quiet machine"


def version_line(versions):
    return "versions: " + ", ".join(f"{name} {version}" for name, version in versions.items() if version)
