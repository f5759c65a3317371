"""Text report of throughput measurements: medians, ratios per round with their minimum, and the load of the machine."""

import os
import resource
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.throughput.measurements import Metrics

IDLE_LIMIT = 0.2  # cores; if other processes use more, the measurements are unreliable
Round = dict[str, Metrics]  # {contender: metrics}


@dataclass(frozen=True)
class Requirement:
    """A minimum ratio of two contenders, or a maximum of one metric of one contender.

    Attributes:
        ours: name of the contender.
        other: contender whose steps per second are the denominator, in each round; None for a single metric.
        minimum: of the ratio; 0: no requirement.
        metric: name of the metric, if `other` is None.
        maximum: of the metric.
    """

    ours: str
    other: str | None = None
    minimum: float = 0.0
    metric: str = ""
    maximum: float = 0.0

    def evaluate(self, rounds: Sequence[Round]) -> tuple[str, list[float], float, str, str]:
        """(label, value in each round, median, requirement, 'met' or 'MISSED'); both empty without a requirement."""
        if self.other is None:
            values = [one[self.ours][self.metric] for one in rounds]
            median = statistics.median(values)
            label = f"{self.ours}: {self.metric.replace('_', ' ')}, s"
            return label, values, median, f"<= {self.maximum:g}", "met" if median <= self.maximum else "MISSED"
        values = [one[self.ours]["steps_per_second"] / one[self.other]["steps_per_second"] for one in rounds]
        median = statistics.median(values)
        label = f"{self.ours} / {self.other}"
        if not self.minimum:
            return label, values, median, "", ""
        return label, values, median, f">= {self.minimum:g}", "met" if median >= self.minimum else "MISSED"


class Load:
    """Cores that other processes used since this object was made: busy time of the machine minus that of our children.

    Linux only; elsewhere None.
    """

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.busy = self._busy_seconds()
        self.own = self._own_seconds()

    @staticmethod
    def _busy_seconds() -> float | None:
        stat = Path("/proc/stat")
        if not stat.exists():
            return None
        user, nice, system, _, _, *rest = (int(field) for field in stat.read_text().split("\n", 1)[0].split()[1:9])
        return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def _own_seconds() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def other_cores(self) -> float | None:
        """Cores used by other processes; includes children that are still running."""
        busy = self._busy_seconds()
        if self.busy is None or busy is None:
            return None
        return max(busy - self.busy - (self._own_seconds() - self.own), 0.0) / (time.perf_counter() - self.began)


def profile_lines(title: str, parts: dict[str, float]) -> Iterator[str]:
    """The profile of one iteration; `parts` is the result of `measurements.profile_iteration`."""
    yield f"{title}, one iteration by part"
    for part, seconds in parts.items():
        yield f"  {part:<48}{1000 * seconds:>9.1f} ms{100 * seconds / parts['all']:>7.1f} %"


def metric_lines(title: str, rounds: Sequence[Round]) -> Iterator[str]:
    """Steps per second and start-up time of every contender: median and range over the rounds."""
    yield f"{title:<56}{'steps/s':>9}{'range':>17}{'first update':>14}{'compile':>10}{'others':>8}"
    for name in rounds[0]:
        found = [one[name] for one in rounds]
        speeds = [one["steps_per_second"] for one in found]
        line = f"  {name:<54}{statistics.median(speeds):>9,.0f}{f'{min(speeds):,.0f} - {max(speeds):,.0f}':>17}"
        for key, width, unit in (("first_update", 14, " s"), ("compile", 10, " s"), ("others", 8, "")):
            values = [one[key] for one in found if one.get(key) is not None]
            line += f"{statistics.median(values):.1f}{unit}".rjust(width) if values else " " * width
        yield line


def requirement_lines(title: str, rounds: Sequence[Round], requirements: Sequence[Requirement]) -> Iterator[str]:
    """Every ratio and metric: median, requirement, and the value of each round."""
    yield f"{title:<56}{'median':>9}{'required':>9}{'':>10}each round"
    for requirement in requirements:
        label, values, median, limit, verdict = requirement.evaluate(rounds)
        yield f"  {label:<54}{median:>9.2f}{limit:>9}{verdict:>8}  {' '.join(f'{one:.2f}' for one in values)}"


def machine_lines(load_at_start: Sequence[float], results: dict[str, list[Round]]) -> Iterator[str]:
    """Cores and load, at the start and now; a warning if other processes were busy in the median measurement."""
    start, now = (" ".join(f"{one:.1f}" for one in load) for load in (load_at_start, os.getloadavg()))
    cores = len(os.sched_getaffinity(0))
    yield f"machine: {cores} cores; load average {start} at the start, {now} now (including this benchmark)"
    others = [
        metrics["others"]
        for rounds in results.values()
        for one in rounds
        for metrics in one.values()
        if metrics["others"] is not None
    ]
    if others and statistics.median(others) > IDLE_LIMIT:
        yield (
            f"WARNING: other processes used {statistics.median(others):.1f} cores (column 'others'); repeat the benchmark on "
            "an idle machine"
        )


def version_line(versions: dict[str, str | None]) -> str:
    """Installed versions on one line."""
    return "versions: " + ", ".join(f"{name} {version}" for name, version in versions.items() if version)
