"""Runs of the command line with a memory: resumed exactly, evaluated, reported, played, and started from a policy."""

import csv
import json
import shutil

import jobs
import numpy as np
import pytest

from common.policies.files import read_policy
from common.runs.checkpoint_store import FORMAT
from common.storage.array_files import load_arrays

SETTINGS = {
    "env": "CartPole-v1",
    "preset": "classic",
    "memory": "lstm",
    "memory-size": 6,
    "memory-steps": 8,
    "hid-size": 8,
    "num-envs": 2,
    "timesteps-per-actorbatch": 64,
    "optim-batchsize": 32,
    "optim-epochs": 2,
    "max-iters": 8,
    "checkpoint-every": 3,
}


def words(**changes):
    settings = SETTINGS | {name.replace("_", "-"): value for name, value in changes.items()}
    return [str(word) for name, value in settings.items() for word in (f"--{name}", value)]


def weights(folder):
    return read_policy(folder / "policy" / "policy.safetensors")[0]


def rows(path):
    """The rows of the log without the column of times."""
    lines = list(csv.reader(path.read_text().splitlines()))
    clock = lines[0].index("TimeElapsed")
    return [row[:clock] + row[clock + 1 :] for row in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("memory") / "whole"
    finished = jobs.run(1, jobs.RUN_UNCOMPILED, *words(eval_every=4, eval_episodes=2), "--run-dir", folder)
    assert finished.returncode == 0, finished.stderr
    return folder


def test_a_killed_and_resumed_run_is_bit_identical(whole, tmp_path):
    broken = tmp_path / "broken"
    argv = [jobs.RUN_UNCOMPILED, *words(eval_every=4, eval_episodes=2), "--run-dir", broken]

    def in_iteration_five():
        log = broken / "progress.csv"
        return log.exists() and len(log.read_text().splitlines()) > 4

    jobs.kill_when(1, argv, broken, in_iteration_five)
    resumed = jobs.run(1, jobs.RUN_UNCOMPILED, "--run-dir", broken, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "continuing from ckpt-" in resumed.stdout
    assert (whole / "policy/policy.safetensors").read_bytes() == (broken / "policy/policy.safetensors").read_bytes()
    newest = sorted((whole / "checkpoints").iterdir())[-1].name
    one, two = (load_arrays(run / "checkpoints" / newest, FORMAT)[0] for run in (whole, broken))
    assert one.keys() == two.keys() and all(one[name].tobytes() == two[name].tobytes() for name in one)
    assert any("memory/h/w" in name for name in one)
    assert rows(whole / "progress.csv") == rows(broken / "progress.csv")
    assert (whole / "evaluations.csv").read_text().splitlines()[1:] and rows(whole / "progress.csv")[1:]


def test_a_run_is_evaluated_and_reported(whole):
    evaluations = list(csv.reader((whole / "evaluations.csv").read_text().splitlines()))
    assert len(evaluations) == 1 + 2
    settings = json.loads((whole / "config.json").read_text())["settings"]["policy_settings"]
    assert (settings["memory"], settings["memory_size"], settings["memory_steps"]) == ("lstm", 6, 8)
    assert (whole / "report.html").exists()
    assert "--memory lstm" in (whole / "report.html").read_text()


def test_a_policy_with_a_memory_is_played(whole, cli_here, uncompiled_here):
    argv = ["--play", "--load-path", whole, "--json", "--eval-episodes", 3, "--seed", 1]
    first, again = (cli_here(*argv) for _ in range(2))
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert found["returns"] == found["lengths"] and len(found["returns"]) == 3
    assert json.loads(again.stdout)["returns"] == found["returns"]  # no memory is left from other episodes


def test_a_training_starts_from_a_policy_with_a_memory(whole, cli_here, uncompiled_here, tmp_path):
    # steps of 1e-30 leave the weights as they were
    begun = words(max_iters=1, optim_stepsize=1e-30, report="false")
    done = cli_here(*begun, "--load-path", whole, "--run-dir", tmp_path / "next")
    assert done.returncode == 0, done.stderr
    one, two = weights(whole), weights(tmp_path / "next")
    assert one.keys() == two.keys()
    trained = [name for name in one if "ob_rms" not in name]
    assert any("memory/h/w" in name for name in trained)
    for name in trained:
        if one[name].dtype == np.float32:
            np.testing.assert_allclose(one[name], two[name], rtol=0, atol=1e-20)
    for changed in ({"memory": "gru"}, {"memory_size": 7}):
        refused = cli_here(*words(max_iters=1, **changed), "--load-path", whole, "--run-dir", tmp_path / "no")
        assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1, refused.stderr
        shutil.rmtree(tmp_path / "no", ignore_errors=True)


def test_minibatches_without_whole_sequences_are_refused_before_anything_is_written(cli_here, tmp_path):
    done = cli_here(*words(optim_batchsize=20), "--run-dir", tmp_path / "run")
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    assert "invalid optim_batchsize=20: must be a multiple of 8, the steps of a sequence" in done.stderr


def test_a_network_of_baselines_is_understood_and_resumed(cli_here, uncompiled_here, tmp_path):
    """`--network lstm` stands for a policy and its memory; a resume with the same command continues the run."""
    named = {name: value for name, value in SETTINGS.items() if name != "memory"} | {
        "network": "lstm",
        "report": "false",
    }
    begun = [str(word) for name, value in named.items() for word in (f"--{name}", value)]
    for changes in (["--max-iters", 1], ["--max-iters", 2, "--resume"]):
        done = cli_here(*begun, *changes, "--run-dir", tmp_path / "run")
        assert done.returncode == 0, done.stderr
    settings = json.loads((tmp_path / "run/config.json").read_text())["settings"]
    assert (settings["policy"], settings["policy_settings"]["memory"]) == ("mlp", "lstm")
