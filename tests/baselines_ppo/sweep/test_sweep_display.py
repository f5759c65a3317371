"""The output of a sweep: progress, remaining time and the table."""

import io
import math
import os
import time

import pytest
from rich.console import Console

from baselines_ppo.sweep.directory import SweepDirectory, last_row
from baselines_ppo.sweep.display import SweepDisplay, SweepStatus, format_mean_and_std
from baselines_ppo.sweep.plan import plan


def make_status(tmp_path, seeds=4):
    """Return the status of four runs, of which the first is done; their runs; and the directory."""
    runs = plan({"env": ["CartPole-v1"], "seed": list(range(seeds)), "num_timesteps": [1000]}, 1, 1)
    folder = SweepDirectory(tmp_path / "sweep")
    return (
        SweepStatus(
            runs, ["env"], folder.progress, {runs[0].name: {"mean_return": 20.0, "steps": 1000, "seconds": 9.0}}
        ),
        runs,
        folder,
    )


def write_progress(folder, run, *rows):
    (folder.path / run.name).mkdir(parents=True, exist_ok=True)
    lines = ["EpRewMean,EpisodesSoFar,TimestepsSoFar,TimeElapsed", *(",".join(map(str, row)) for row in rows)]
    (folder.path / run.name / "progress.csv").write_text("\n".join(lines) + "\n12.0,5,9")  # the last row is incomplete


def test_speed_and_remaining_time_are_measured_since_the_start_of_this_process(tmp_path):
    shown, runs, folder = make_status(tmp_path)
    shown.states |= {runs[1].name: "running", runs[2].name: "failed"}
    assert math.isnan(shown.left())
    write_progress(folder, runs[1], ("nan", 0, 100, 5.0))
    shown.update([runs[1]])
    assert math.isnan(shown.speed(runs[1].name))
    write_progress(folder, runs[1], ("nan", 0, 100, 5.0), (11.0, 3, 500, 7.0))
    shown.update([runs[1]])
    assert shown.speed(runs[1].name) == 200.0  # 400 steps in 2 seconds
    shown.began = time.monotonic() - 30
    # half a run took 30 seconds; half a run and a whole one remain, without the failed one: 90 seconds
    assert shown.left() == pytest.approx(90, rel=0.01)


def test_the_last_complete_row_is_read(tmp_path):
    folder, run = (
        SweepDirectory(tmp_path / "sweep"),
        plan({"env": ["CartPole-v1"], "seed": [0], "max_iters": [4]}, 1, 1)[0],
    )
    assert folder.progress(run).fraction == 0
    write_progress(folder, run, *((i, i, 10 * i, i) for i in range(1, 4)))
    assert last_row(folder.path / run.name / "progress.csv") == {
        "EpRewMean": 3,
        "EpisodesSoFar": 3,
        "TimestepsSoFar": 30,
        "TimeElapsed": 3,
    }
    assert folder.progress(run).fraction == 0.75


def test_the_standard_deviation_is_that_of_a_sample():
    assert format_mean_and_std([]) == "" and format_mean_and_std([3.0]) == "3"
    assert format_mean_and_std([1.0, 2.0, 6.0]) == "3 ± 2.646"  # sqrt((4 + 1 + 9) / 2)


def test_the_table_has_a_row_for_each_combination_of_settings(tmp_path):
    runs = plan({"env": ["CartPole-v1"], "seed": [0, 1], "hid_size": [8, 16]}, 1, 1)
    shown = SweepStatus(
        runs,
        ["env", "hid_size"],
        SweepDirectory(tmp_path).progress,
        {runs[0].name: {"mean_return": 20.0}, runs[2].name: {"mean_return": 22.0}},
    )
    shown.states[runs[1].name] = "failed"
    console = Console(file=io.StringIO(), width=140)
    console.print(shown.table())
    rows = [line.split() for line in console.file.getvalue().splitlines() if line.strip().startswith("CartPole-v1")]
    assert rows == [["CartPole-v1", "8", "2/2", "21", "±", "1.414"], ["CartPole-v1", "16", "0/2", "1"]]
    assert "2 of 4 runs done, 1 failed" in console.file.getvalue()


def test_a_terminal_shows_one_table_and_failures_above_it(tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setitem(os.environ, "TERM", "xterm")
    shown, runs, _ = make_status(tmp_path, seeds=3)
    terminal = Terminal()
    with SweepDisplay(shown, terminal) as screen:
        screen.started(runs[1])
        screen.refresh([runs[1]])
        screen.failed(runs[1], "status 1: no")
        screen.finished(runs[2], {"mean_return": None, "steps": 1000, "seconds": 3.0})
    text = terminal.getvalue()
    assert "started" not in text and f"{runs[1].name}: failed, status 1: no" in text
    assert "2 of 3 runs done, 1 failed" in text and "2/3" in text
