"""The display of a search, and its files."""

import io
import os
import time
from types import SimpleNamespace

import pytest

from baselines_ppo.sweep.directory import RunProgress
from baselines_ppo.tune.display import SearchDisplay, SearchStatus, format_params
from baselines_ppo.tune.results import draw_figures
from baselines_ppo.tune.trial_runs import TrialRuns


def make_status(fractions, total=4, fresh_trials=0.0):
    """Return the status of a search without earlier trials, whose trainings have the progress of a dict."""
    store = SimpleNamespace(ended=lambda: [], best=lambda: None)

    def progress(run):
        return RunProgress(int(1000 * fractions.get(run.name, 0)), 1.0, fractions.get(run.name, 0.0))

    return SearchStatus(store, total, progress, fresh_trials)


def make_trial(index, tmp_path):
    runs = [SimpleNamespace(name=f"trial-{index:04}/seed{seed}", limits={}) for seed in range(2)]
    return TrialRuns(SimpleNamespace(index=index, params={"gamma": 0.987654}), runs, tmp_path)


def test_remaining_time_counts_open_trials_and_the_final_check(tmp_path):
    fractions = {}
    status = make_status(fractions, total=4, fresh_trials=1.0)
    trial = make_trial(0, tmp_path)
    status.add(trial)
    fractions[trial.runs[0].name] = 1.0
    status.update(trial.runs)
    status.began = time.monotonic() - 30
    # half a trial took 30 seconds; three and a half trials and the check, as long as one, remain
    assert status.left() == pytest.approx(270, rel=0.01)
    status.remove(0, "stopped early")
    assert status.left() == pytest.approx(120, rel=0.01)  # one trial took 30 seconds
    assert status.summary().startswith("1 of 4 trials ended, 1 stopped early; 0:00:30")


def test_a_terminal_shows_open_trials_the_best_one_and_failures(tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setitem(os.environ, "TERM", "xterm")
    trials, terminal = [make_trial(index, tmp_path) for index in range(3)], Terminal()
    with SearchDisplay(make_status({}), terminal) as display:
        for trial in trials:
            display.trial_opened(trial)
        trials[0].scores = {run.name: score for run, score in zip(trials[0].runs, (10.0, 12.0))}
        display.trial_completed(trials[0])
        display.trial_ended(trials[1].opened, "failed", "status 1: no")
    text = terminal.getvalue()
    assert "trial 1: failed, status 1: no" in text and "trial 0: mean" not in text
    assert "best: 0" in text and "11 ± 1.414" in text and "gamma=0.9877" in text


def test_parameters_are_short():
    assert format_params({"gamma": 0.987654, "hid_size": 64, "memory": "gru", "vf_clip": None, "init": True}) == (
        "gamma=0.9877, hid_size=64, memory=gru, vf_clip=none, init=true"
    )


def test_importances_are_drawn_from_ten_trials_on(tmp_path):
    optuna = pytest.importorskip("optuna", reason="the library Optuna is not installed")
    study = optuna.create_study(direction="maximize")
    for i in range(10):
        trial = study.ask()
        study.tell(trial, trial.suggest_float("gamma", 0.9, 1.0) + 0 * trial.suggest_float("lam", 0.9, 1.0))
        store = SimpleNamespace(optuna=optuna, ended=study.get_trials, trials=lambda state: study.get_trials())
        if i in (8, 9):
            draw_figures(store, tmp_path)
            assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
            assert (tmp_path / "importances.png").exists() == (i == 9)
