"""A new run from a trained policy: what it loads, what starts from zero, and that a resume does not load again."""

import json
import os
import shutil

import gymnasium as gym
import numpy as np
import pytest
from run_files import assert_same_run

from baselines_ppo import CnnPolicy, MlpPolicy, load_policy
from common.policies.locate import find_policy, find_policy_and_run
from common.runs.checkpoint_store import FORMAT
from common.storage.array_files import load_arrays

WORDS = (
    "--env",
    "Pendulum-v1",
    "--preset",
    "mujoco",
    "--hid-size",
    "8",
    "--timesteps-per-actorbatch",
    "64",
    "--optim-batchsize",
    "32",
    "--optim-epochs",
    "1",
    "--schedule",
    "constant",
    "--checkpoint-every",
    "1",
    "--report",
    "false",
)
LIKE_MUJOCO = {"hid_size": 8, "ob_min_std": 1e-4}
OB, AC = gym.spaces.Box(-8, 8, (3,)), gym.spaces.Box(-2, 2, (1,))


@pytest.fixture
def trained(tmp_path):
    """A run directory with a policy for Pendulum: random weights and a filter of 1000 observations."""
    pi = MlpPolicy("pi", OB, AC, **LIKE_MUJOCO)
    pi.initialise(np.random.default_rng(5))
    pi.ob_rms.update(np.random.default_rng(6).normal(2, 3, (1000, 3)))
    (tmp_path / "trained" / "policy").mkdir(parents=True)
    pi.save(tmp_path / "trained" / "policy" / "policy.safetensors", env="Pendulum-v1")
    return tmp_path / "trained"


@pytest.fixture
def run(tmp_path, cli_here, uncompiled_here):
    """A function (name of the directory, words) that runs the command line; returns (directory, stdout)."""

    def start(name, *words):
        done = cli_here("--run-dir", tmp_path / name, *words)
        assert done.returncode == 0, done.stderr
        return tmp_path / name, done.stdout

    return start


def test_weights_and_filter_are_loaded_and_adam_starts_from_zero(trained, run):
    file = trained / "policy" / "policy.safetensors"
    folder, said = run("new", *WORDS, "--max-iters", "1", "--optim-stepsize", "1e-12", "--load-path", trained)
    assert (
        f"\ninitial policy: {file} (its weights and observation filter); "
        "Adam, return scale and counters start from zero\n" in said
    )
    assert json.loads((folder / "config.json").read_text())["settings"]["load_path"] == str(file)
    before, kept, after = (load_policy(path).state() for path in (file, folder / "start", folder))
    for name, x in before.items():
        np.testing.assert_array_equal(kept[name], x)
        if not name.startswith("ob_rms/"):
            # two Adam steps of 1e-12 each, and a smaller rounding error
            np.testing.assert_allclose(after[name], x, rtol=0, atol=4e-12)
    assert after["ob_rms/count"] == 1064
    arrays, metadata = load_arrays(folder / "checkpoints" / "ckpt-00000001.safetensors", FORMAT)
    assert arrays["adam/t"] == 2 and metadata["counters"]["timesteps_so_far"] == 64


def test_resumed_run_does_not_load_again_and_one_without_a_checkpoint_uses_its_copy(trained, run, tmp_path):
    once, _ = run("once", *WORDS, "--max-iters", "2", "--load-path", trained)
    halted, _ = run("halted", *WORDS, "--max-iters", "1", "--load-path", trained)
    killed = tmp_path / "killed"
    shutil.copytree(once, killed)
    shutil.rmtree(killed / "checkpoints")
    shutil.rmtree(trained)
    _, said = run("halted", "--resume", "--max-iters", "2", "--load-path", trained)  # as in a job script
    assert "initial policy" not in said
    assert_same_run(halted, once)
    _, said = run("killed", "--resume")
    assert "initial policy: " in said and "no checkpoint yet" in said
    assert_same_run(killed, once)


@pytest.mark.parametrize(
    "words, parts",
    [
        (
            ["--hid-size", "16", "--ob-clip", "10"],
            [
                "holds a policy with hid_size=8, ob_clip=5.0, this run has one with hid_size=16, ob_clip=10.0; "
                "give --hid-size 8 --ob-clip 5.0"
            ],
        ),
        (["--env", "CartPole-v1"], ["was trained for observations", "this run has"]),
        (["--load-path", "nowhere"], ["nowhere: no policy found"]),
        (["--load-path", "pixels.safetensors"], ["holds a policy of class CnnPolicy", "use --policy cnn"]),
    ],
)
def test_incompatible_policy_is_refused_with_one_line_before_anything_is_written(
    words, parts, trained, tmp_path, monkeypatch, cli_here
):
    monkeypatch.chdir(tmp_path)
    CnnPolicy("pi", gym.spaces.Box(0, 255, (36, 36, 1), np.uint8), gym.spaces.Discrete(2)).save("pixels.safetensors")
    done = cli_here(*WORDS, "--run-dir", "new", "--load-path", trained, *words)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert all(part in done.stderr for part in parts), done.stderr
    assert not (tmp_path / "new").exists()


def test_resumed_run_cannot_load_another_policy(trained, run, tmp_path, cli_here):
    run("new", *WORDS, "--max-iters", "1", "--load-path", trained)
    done = cli_here("--run-dir", tmp_path / "new", "--resume", "--max-iters", "2", "--load-path", "another")
    assert done.returncode == 2 and "--resume: load_path='another', but the run in" in done.stderr


def test_directory_of_runs_stands_for_its_latest_run_with_a_policy(trained, tmp_path, cli_here):
    runs = tmp_path / "runs"
    for name, time in (("b", 200), ("a", 300), ("c", 100), ("starting", 400)):
        shutil.copytree(trained, runs / name)
        (runs / name / "config.json").write_text("{}")
        os.utime(runs / name / "config.json", (time, time))
    shutil.rmtree(runs / "starting" / "policy")
    assert find_policy_and_run(runs) == (runs / "a" / "policy" / "policy.safetensors", runs / "a")
    assert find_policy_and_run(runs / "b") == (find_policy(runs / "b"), None)
    done = cli_here("--play", "--load-path", runs, "--eval-episodes", "1", "--json")
    assert done.returncode == 0 and f"{runs} contains several runs; the latest with a policy is a\n" in done.stderr
    assert json.loads(done.stdout)["policy"] == str(runs / "a" / "policy" / "policy.safetensors")
