"""A whole search with trainings that train nothing: kills, signals, early stops, failures, results, invalid arguments."""

import csv
import json
import signal
import subprocess
import sys
import time

import jobs
import pytest

from baselines_ppo.tune.command import main

TASK = ["--env", "CartPole-v1", "--num-timesteps", "512", "--search", "clip_param=0.1:0.3", "--seeds", "2"]


def words_of(folder, trials, *more):
    return [*TASK, "--trials", str(trials), "--storage", str(folder / "tuning.db"), "--jobs", "1", *more]


NO_CHECK = ("--fresh-seeds", "0")


def trials_of(folder):
    """Return {index: row} of trials.csv."""
    with (folder / "tuning/trials.csv").open() as file:
        return {int(row["trial"]): row for row in csv.DictReader(file)}


def starts_of(folder):
    return [line.split() for line in (folder / "tuning/.starts").read_text().splitlines()]


def started(fake, *words):
    """Start a search as a separate process."""
    code = (
        "import sys; from baselines_ppo.tune.__main__ import main; "
        "sys.exit(main(sys.argv[2:], [sys.executable, '-S', '-E', sys.argv[1]]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, fake[-1], *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=jobs.ROOT,
    )


def wait_until(condition, timeout=120):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def put(folder, name, text=""):
    """Write a hidden file that the trainings read."""
    (folder / "tuning").mkdir(exist_ok=True)
    (folder / "tuning" / name).write_text(text)


# ---- invalid arguments


@pytest.mark.parametrize(
    "words, parts",
    [
        (["--trials", "5"], ["--env", "missing"]),
        (["--env", "Hoper-v4"], ["'Hoper-v4'", "Hopper-v4"]),
        (["--env", "CartPole-v1", "--trials", "0"], ["--trials=0", "at least 1"]),
        (["--env", "CartPole-v1", "--seeds", "1001"], ["--seeds=1001", "at most 1,000"]),
        (["--env", "CartPole-v1", "--fresh-seeds", "1"], ["--fresh-seeds=1", "at least 2"]),
        (["--env", "CartPole-v1", "--gamma", "1.5"], ["gamma=1.5", "between 0 and 1"]),
        (["--env", "CartPole-v1", "--search", "gama"], ["'gama'", "not a setting"]),
        (["--env", "CartPole-v1", "--prune", "hard"], ["--prune", "'hard'", "median"]),
        (["--env", "CartPole-v1", "--run-dir", "x"], ["--run-dir", "leave it out"]),
        (["--env", "CartPole-v1", "--trial", "5"], ["--trial", "--trials"]),
        (["--env", "CartPole-v1", "--config", "/nonexistent"], ["/nonexistent"]),
        (["--env", "CartPole-v1", "--storage", "/proc/nowhere/x.db"], ["--storage", "/proc/nowhere/x.db"]),
        (["--env", "CartPole-v1", "--storage", str(jobs.ROOT / "setup.py")], ["setup.py", "cannot be opened"]),
    ],
)
def test_invalid_arguments_are_refused_in_one_line_before_anything_starts(words, parts, capsys, tmp_path, monkeypatch):
    if "--storage" in words:
        pytest.importorskip("optuna", reason="the library Optuna is not installed")
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("baselines_ppo.tune: error: ")
    assert all(part in line for part in parts), line
    assert not list(tmp_path.iterdir())


def test_without_optuna_the_error_names_the_extra(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(words_of(tmp_path, 1)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install -e '.[tune]'" in line
    assert main(["--env", "CartPole-v1", "--dry-run"]) == 0  # needs no Optuna
    assert "--search clip_param=0.1:0.4\n" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


# ---- searches


def test_results_are_written_and_run_py_accepts_the_best_settings(fake, tmp_path, capsys):
    words = words_of(tmp_path, 3, "--fresh-seeds", "2")
    assert main(words, fake) == 0
    out = capsys.readouterr().out
    rows, folder = trials_of(tmp_path), tmp_path / "tuning"
    assert sorted(rows) == [0, 1, 2] and all(row["outcome"] == "completed" for row in rows.values())
    best = max(rows.values(), key=lambda row: float(row["score"]))
    # the score is the mean over seeds 0 and 1 of 100 clip_param + seed
    assert float(best["score"]) == pytest.approx(100 * float(best["clip_param"]) + 0.5)
    assert [path.name for path in folder.glob("*.png")] == ["history.png"]  # too few trials for importances
    check = json.loads((folder / "fresh_seeds.json").read_text())
    assert check["seeds"] == [1_000_000, 1_000_001] and check["trial"] == int(best["trial"])
    assert check["difference"]["mean"] == pytest.approx(100 * float(best["clip_param"]) - 20)
    assert check["verdict"] == "better" and "better than the default" in out
    shown = [line.split()[:2] for line in out.splitlines() if "2/2" in line]
    assert shown == [[f"trial-{int(best['trial']):04}", "2/2"], ["default", "2/2"]]
    fresh = {name for name, _ in starts_of(tmp_path) if name.startswith("fresh/")}
    assert (
        len(fresh) == 4 and {"fresh/default-seed1000001", f"fresh/trial-{int(best['trial']):04}-seed1000001"} <= fresh
    )
    assert jobs.main_here("--config", folder / "best.json", "--seed", "7", "--print-config") == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["clip_param"] == float(best["clip_param"]) and settings["num_timesteps"] == 512
    # the same command has nothing to do
    before = starts_of(tmp_path)
    assert main(words, fake) == 0 and starts_of(tmp_path) == before


def test_a_killed_search_continues_and_has_the_trials_of_one_that_was_not(fake, tmp_path, capsys):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    assert main(words_of(whole, 4, *NO_CHECK), fake) == 0
    put(killed, ".hold-trial-0002")
    search = started(fake, *words_of(killed, 4, *NO_CHECK))
    wait_until((killed / "tuning/trial-0002/seed0/progress.csv").exists)
    search.kill()
    search.communicate()
    if sys.platform == "linux":
        wait_until(lambda: not jobs.processes_naming(str(killed)))  # no orphan remains
    (killed / "tuning/.hold-trial-0002").unlink()
    capsys.readouterr()
    assert main(words_of(killed, 4, *NO_CHECK), fake) == 0
    assert "4 trials of 2 seeds, 2 ended" in (out := capsys.readouterr().out) and "continued: trial 2\n" in out
    assert starts_of(killed) == [
        *([f"trial-000{index}/seed{seed}", "fresh"] for index in range(2) for seed in range(2)),
        ["trial-0002/seed0", "fresh"],
        ["trial-0002/seed0", "resumed"],
        ["trial-0002/seed1", "fresh"],
        *([f"trial-0003/seed{seed}", "fresh"] for seed in range(2)),
    ]
    assert trials_of(killed) == trials_of(whole)


def test_a_signal_leaves_trials_open_and_prints_the_command_that_continues(fake, tmp_path):
    put(tmp_path, ".hold-trial-0001")
    put(tmp_path, ".no-schedule")
    search = started(fake, *words_of(tmp_path, 2, *NO_CHECK))
    wait_until((tmp_path / "tuning/trial-0001/seed0/progress.csv").exists)
    search.send_signal(signal.SIGTERM)
    out, _ = search.communicate(timeout=60)
    assert search.returncode == 128 + signal.SIGTERM, out
    assert (
        "stopping: 1 run will finish" in out and "continue with: python -m baselines_ppo.tune --env CartPole-v1" in out
    )
    assert not jobs.processes_naming(str(tmp_path / "tuning"))
    (tmp_path / "tuning/.hold-trial-0001").unlink()
    assert main(words_of(tmp_path, 2, *NO_CHECK), fake) == 0
    assert [row["outcome"] for row in trials_of(tmp_path).values()] == ["completed"] * 2
    # a training without a scheduled checkpoint starts again, because it could not be resumed exactly
    assert starts_of(tmp_path)[2:] == [["trial-0001/seed0", "fresh"]] * 2 + [["trial-0001/seed1", "fresh"]]


def test_a_bad_trial_is_stopped_early_and_its_training_is_killed(fake, tmp_path, capsys):
    for name in (".low-trial-0005", ".hold-trial-0005"):  # it would wait forever after half of its training
        put(tmp_path, name)
    assert main(words_of(tmp_path, 6, *NO_CHECK), fake) == 0
    assert "trial 5: stopped early, return " in capsys.readouterr().out
    rows = trials_of(tmp_path)
    assert [rows[index]["outcome"] for index in range(6)] == ["completed"] * 5 + ["stopped early"]
    assert not (tmp_path / "tuning/trial-0005/seed1").exists()
    assert not jobs.processes_naming(str(tmp_path / "tuning"))


def test_a_failed_training_is_a_failed_trial_and_the_search_continues(fake, tmp_path, capsys):
    put(tmp_path, ".fail-above", "0.0")
    assert main(words_of(tmp_path, 1, *NO_CHECK), fake) == 1
    assert "no trial has completed" in capsys.readouterr().out
    put(tmp_path, ".fail-above", "1.0")
    assert main(words_of(tmp_path, 2, *NO_CHECK), fake) == 0
    rows = trials_of(tmp_path)
    assert rows[0]["outcome"] == "failed: trial-0000/seed0: status 1: run.py: error: loss is nan"
    assert rows[1]["outcome"] == "completed"


def test_a_storage_with_another_search_is_refused(fake, tmp_path, capsys):
    assert main(words_of(tmp_path, 1, *NO_CHECK), fake) == 0
    before = starts_of(tmp_path)
    for more, parts in (
        (["--seeds", "3"], ["--seeds 2, not 3"]),
        (["--gamma", "0.9"], ["gamma not given, not 0.9"]),
        (["--search", "clip_param"], ["clip_param=0.1:0.3, not clip_param=0.1:0.4"]),
        (["--study", "other", "--tune-dir", str(tmp_path / "tuning")], ["contains other files", "--tune-dir"]),
    ):
        capsys.readouterr()
        assert main([*words_of(tmp_path, 2), *more], fake) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert all(part in line for part in parts), line
    assert starts_of(tmp_path) == before
