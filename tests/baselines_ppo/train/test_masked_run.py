"""Runs of the command line with action masks: detected, recorded, evaluated and played; a resumed run is bit-identical."""

import json

import numpy as np
import pytest

from common.policies.files import read_policy

SETTINGS = {
    "env": "masked_envs:MaskedCorridor-v0",
    "preset": "classic",
    "schedule": "constant",
    "hid-size": 8,
    "num-envs": 2,
    "timesteps-per-actorbatch": 64,
    "optim-batchsize": 32,
    "optim-epochs": 2,
    "checkpoint-every": 2,
    "eval-every": 1,
    "eval-episodes": 2,
    "report": "false",
    "quiet": "true",
}
WORDS = [word for name, value in SETTINGS.items() for word in (f"--{name}", value)]
pytestmark = pytest.mark.usefixtures("uncompiled_here")


def settings(folder):
    return json.loads((folder / "config.json").read_text())["settings"]


def weights(folder):
    return read_policy(folder / "policy" / "policy.safetensors")[0]


@pytest.mark.parametrize(("masks", "workers"), [("method", 0), ("info", 2)])
def test_a_run_is_trained_evaluated_resumed_and_played_with_masks(cli_here, tmp_path, masks, workers):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    words = [*WORDS, "--env-kwargs", json.dumps({"masks": masks, "goal": 3}), "--env-workers", workers]
    assert cli_here(*words, "--max-iters", 4, "--run-dir", whole).returncode == 0
    assert settings(whole)["action_masks"] is True
    assert (whole / "evaluations.csv").read_text().count("\n") == 5
    assert cli_here(*words, "--max-iters", 2, "--run-dir", parts).returncode == 0
    assert cli_here("--run-dir", parts, "--resume", "--max-iters", 4).returncode == 0
    one, two = weights(whole), weights(parts)
    assert one.keys() == two.keys()
    assert all(np.array_equal(x, two[name]) for name, x in one.items())
    played = cli_here("--play", "--load-path", whole, "--json", "--eval-episodes", 3)
    assert played.returncode == 0, played.stderr
    assert min(json.loads(played.stdout)["lengths"]) >= 3


def test_masks_can_be_required_and_refused(cli_here, tmp_path):
    kwargs = ["--env-kwargs", '{"masks": null, "goal": 1}']
    refused = cli_here(*WORDS, *kwargs, "--action-masks", "true", "--max-iters", 1, "--run-dir", tmp_path / "a")
    assert refused.returncode == 2
    assert "gives no action masks; define a method action_masks()" in refused.stderr
    failed = cli_here(*WORDS, "--action-masks", "false", "--max-iters", 1, "--run-dir", tmp_path / "b")
    assert failed.returncode == 1
    assert "invalid action" in failed.stderr
    assert settings(tmp_path / "b")["action_masks"] is False


def test_an_environment_without_masks_has_none_in_its_settings(cli_here, tmp_path):
    words = ["CartPole-v1" if word == SETTINGS["env"] else word for word in WORDS]
    assert cli_here(*words, "--max-iters", 1, "--run-dir", tmp_path / "run").returncode == 0
    assert settings(tmp_path / "run")["action_masks"] is False
