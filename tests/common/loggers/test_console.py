"""The progress display: plain lines without a terminal, one display redrawn in place on a terminal."""

import io
import math
import os

import pytest
from terminals import opened, read, seen

from common.formatting import format_duration, format_number
from common.loggers.console import ProgressLines
from common.loggers.live_display import (
    BARS,
    WIDTH,
    DownsampledSeries,
    LiveDisplay,
    make_progress_display,
    sparkline,
)


@pytest.fixture(autouse=True)
def term(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")


ROW = {
    "EpLenMean": 210.0,
    "EpRewMean": 1234.5,
    "TimestepsSoFar": 4096,
    "ev_tdlam_before": 0.5,
    "loss_kl": 0.0031,
    "loss_ent": 4.2,
    "clipfrac": 0.11,
    "stepsize": 3e-4,
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def printed_lines(progress, interval):
    stream, done = io.StringIO(), iter(progress)
    output = make_progress_display(lambda: next(done), interval=interval, stream=stream)
    assert isinstance(output, ProgressLines)
    for _ in progress:
        output.write(ROW, 4096)
    output.close()
    return stream.getvalue()


def test_a_stream_that_is_not_a_terminal_gets_plain_lines():
    lines = printed_lines([0.25, 0.5, 1.0], interval=0.0).splitlines()
    assert len(lines) == 3 and not any("\x1b" in line or "\r" in line for line in lines)
    assert lines[0].split()[0] == "25%" and lines[2].split()[0] == "100%"
    for part in (
        "steps 4,096",
        "return 1234",
        "length 210",
        "kl 0.0031",
        "clipped 0.11",
        "entropy 4.2",
        "explained 0.5",
        "step size 0.0003",
    ):
        assert part in lines[0]


def test_plain_lines_are_an_interval_apart_and_the_last_is_always_printed():
    lines = printed_lines([0.1, 0.2, 0.3, 1.2], interval=1e6).splitlines()
    assert [line.split()[0] for line in lines] == ["10%", "100%"]


def test_a_terminal_gets_one_display_with_every_metric_and_the_curve():
    terminal = Terminal()
    output = make_progress_display(lambda: 0.5, " of 1,000,000 steps", stream=terminal)
    assert isinstance(output, LiveDisplay)
    for mean in (math.nan, 100.0, 300.0):
        output.write(ROW | {"EpRewMean": mean}, 500_000)
    output.close()
    text = terminal.getvalue()
    for part in (
        "50%",
        "500,000 of 1,000,000 steps",
        "return",
        "300",
        "kl",
        "0.0031",
        "clipped",
        "entropy",
        "explained",
        "step size",
        BARS[0] + BARS[-1],
    ):
        assert part in text


def test_a_closed_terminal_does_not_end_the_run(capfd):
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        output = make_progress_display(lambda: 0.5, stream=terminal)
        assert isinstance(output, LiveDisplay)
        os.close(ours)
        output.write(ROW, 4096)
        output.live.refresh()
        output.close()
    err = capfd.readouterr().err
    assert err.count("stdout is closed") == 1 and "Traceback" not in err


@pytest.mark.parametrize(
    "values, line",
    [
        ([], ""),
        ([1.0], BARS[0]),
        ([0.0, 7.0], BARS[0] + BARS[7]),
        ([math.nan, 2.0, 2.0], BARS[0] * 2),
        (list(range(8)), BARS),
    ],
)
def test_a_sparkline_ranges_from_the_minimum_to_the_maximum(values, line):
    assert sparkline(values) == line


def test_a_sparkline_of_a_long_series_shows_means():
    line = sparkline([float(i // 10) for i in range(80)], width=8)
    assert line == BARS


def test_a_downsampled_series_has_bounded_length_and_exact_means():
    series, values = DownsampledSeries(), [float(i) for i in range(10_007)]
    for i, value in enumerate(values):
        series.add(value)
        series.add(math.nan)
        assert len(series.points()) <= 2 * WIDTH
        if i + 1 < 2 * WIDTH:
            assert series.points() == values[: i + 1]
    *points, last = series.points()
    n = series.values_per_point
    assert points == [n * i + (n - 1) / 2 for i in range(len(points))]  # the means of n consecutive integers
    assert len(points) > WIDTH - 1 and last > points[-1]


def test_numbers_and_durations_are_formatted():
    assert [format_number(x) for x in (4096, 12345.6, 0.00012345, float("nan"))] == [
        "4,096",
        "12,346",
        "0.0001234",
        "nan",
    ]
    assert format_duration(3725) == "1:02:05" and format_duration(float("nan")) == "-:--:--"


@pytest.mark.parametrize("columns", [24, 34, 50])
def test_a_narrow_terminal_gets_every_metric_and_the_latest_returns(columns):
    ours, theirs = opened(columns)
    with os.fdopen(theirs, "w") as terminal:
        output = make_progress_display(lambda: 0.5, " of 1,000,000 steps", stream=terminal)
        for i in range(100):
            output.write(ROW | {"EpRewMean": float(i == 99)}, 500_000)
        output.close()
        terminal.close()
        lines = seen(read(ours))
    os.close(ours)
    assert max(map(len, lines)) <= columns
    words = " ".join(lines).split()
    for part in ("50%", "500,000", "0.0031", "210", "0.11", "4.2", "0.5", "0.0003"):
        assert part in words
    assert lines[-2].endswith(BARS[0] + BARS[-1])


@pytest.mark.parametrize("term, encoding", [("dumb", "utf-8"), ("xterm", "latin-1")])
def test_a_terminal_without_cursor_or_unicode_gets_plain_lines(term, encoding, monkeypatch):
    monkeypatch.setenv("TERM", term)
    ours, theirs = opened()
    with os.fdopen(theirs, "w", encoding=encoding) as terminal:
        assert isinstance(make_progress_display(lambda: 0.5, stream=terminal), ProgressLines)
    os.close(ours)


def test_a_notification_appears_in_the_display_or_on_stderr(capfd):
    ProgressLines(lambda: 0.5, 1.0, io.StringIO()).notify("stopping")
    assert capfd.readouterr() == ("", "stopping\n")
    terminal = Terminal()
    output = make_progress_display(lambda: 0.5, stream=terminal)
    output.notify("stopping")
    output.close()
    assert "stopping" in terminal.getvalue()
