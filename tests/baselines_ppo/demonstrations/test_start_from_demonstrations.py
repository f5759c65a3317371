"""Trainings that start from demonstrations: what they reach, resumes, ranks, the other algorithms, the command line."""

import functools
import json
import shutil
from pathlib import Path

import gymnasium as gym
import jobs
import numpy as np
import pytest
from balancing import demonstrations
from logs import Rows
from run_files import assert_same_run
from small_policies import uncompiled

from baselines_ppo import (
    Demonstrations,
    MlpPolicy,
    UserError,
    learn,
    load_demonstrations,
    save_demonstrations,
    trpo_mpi,
    vpg,
)
from common.loggers.logger import Logger
from common.runs.checkpoint_store import FORMAT
from common.storage.array_files import load_arrays

WORDS = [
    *("--env", "CartPole-v1", "--preset", "classic", "--hid-size", "8", "--num-envs", "2", "--report", "false"),
    *("--timesteps-per-actorbatch", "64", "--optim-batchsize", "32", "--optim-epochs", "1", "--checkpoint-every", "2"),
    *("--demonstration-epochs", "2", "--schedule", "constant"),
]


@pytest.fixture(scope="module")
def balanced():
    return demonstrations(6)


@pytest.fixture
def file(balanced, tmp_path):
    save_demonstrations(tmp_path / "demo.npz", balanced)
    return tmp_path / "demo.npz"


@pytest.fixture
def run(tmp_path, cli_here, uncompiled_here):
    """A function (name of the directory, words) that runs the command line; returns (directory, stdout)."""

    def start(name, *words):
        done = cli_here("--run-dir", tmp_path / name, *words)
        assert done.returncode == 0, done.stderr
        return tmp_path / name, done.stdout

    return start


def first_return(**options):
    """The mean return of the episodes of the first iteration of PPO on CartPole."""
    log = Rows()
    policy = functools.partial(uncompiled, hid_size=64)
    settings = {"timesteps_per_actorbatch": 2048, "optim_epochs": 1, "max_iters": 1, "seed": 0}
    learn("CartPole-v1", policy, logger=Logger([log]), **settings, **options)
    return log.rows[0]["EpRewMean"]


# ---- what it is for


def test_ppo_starts_where_the_demonstrations_are(balanced):
    assert first_return() < 40
    assert first_return(demonstrations=balanced, demonstration_epochs=10) > 150


def test_return_scale_and_value_function_of_the_first_iteration_are_those_of_the_data(balanced):
    states = []
    setup = {"timesteps_per_actorbatch": 64, "optim_batchsize": 64, "optim_epochs": 1, "max_iters": 1, "seed": 0}

    def keep(found, _):
        states.append((found["pi"].vpred(balanced.entries["observations"]), found["pi"].ob_rms.count))

    learn(
        "CartPole-v1",
        functools.partial(uncompiled, hid_size=64),
        callback=keep,
        demonstrations=balanced,
        scale_returns=True,
        **setup,
    )
    forward = (1 - 0.99 ** np.arange(1, 501)) / 0.01  # R_t of rewards of 1, for each of the equal episodes
    vpred, count = states[0]
    assert count == 3000
    # all episodes reach their time limit: every return is the infinite sum of 1, in the scaled rewards; unscaled it is 100
    assert vpred.mean() == pytest.approx(100 / forward.std(), rel=0.2)


@pytest.mark.parametrize(
    "algorithm, settings",
    [
        (trpo_mpi, {"timesteps_per_batch": 64, "vf_iters": 1, "vf_batchsize": 32}),
        (vpg, {"timesteps_per_actorbatch": 64}),
        (vpg, {"timesteps_per_actorbatch": 64, "baseline": "mean", "whole_episodes": True, "lam": 1.0}),
    ],
    ids=["trpo", "a2c", "reinforce"],
)
def test_the_other_algorithms_take_them_too(algorithm, settings, balanced, caplog):
    caplog.set_level("INFO", "baselines_ppo.cloning")
    algorithm.learn(
        "CartPole-v1", uncompiled, demonstrations=balanced, demonstration_epochs=1, max_iters=1, seed=0, **settings
    )
    assert "accuracy" in caplog.messages[1]
    assert ("no value function" in caplog.messages[2]) == (settings.get("baseline") == "mean")


# ---- runs, resumes and ranks


def test_a_resumed_run_does_not_clone_again_and_is_bit_identical(run, file, tmp_path):
    once, said = run("once", *WORDS, "--max-iters", "3", "--demonstrations", file)
    assert f"\ndemonstrations: {file}: 3,000 steps, 6 episodes, mean return 500; 500 of them validate\n" in said
    settings = json.loads((once / "config.json").read_text())["settings"]
    assert settings["demonstrations"] == str(file) and settings["demonstration_epochs"] == 2
    halted, _ = run("halted", *WORDS, "--max-iters", "1", "--demonstrations", file)
    killed = {name: tmp_path / name for name in ("before the first iteration", "while cloning")}
    for path in killed.values():
        shutil.copytree(halted, path)
        (path / "checkpoints" / "ckpt-00000001-forced.safetensors").unlink()
    shutil.rmtree(killed["while cloning"] / "checkpoints")
    _, said = run("while cloning", "--resume", "--max-iters", "3")
    assert "no checkpoint yet" in said and "\ndemonstrations: policy: " in said
    file.unlink()
    _, said = run("before the first iteration", "--resume", "exact", "--max-iters", "3", "--demonstrations", file)
    assert "continuing from ckpt-00000000" in said and "demonstrations: " not in said
    for path in killed.values():
        assert_same_run(path, once)
        arrays = [load_arrays(one / "checkpoints/ckpt-00000002.safetensors", FORMAT)[0] for one in (path, once)]
        assert all(x.tobytes() == arrays[1][name].tobytes() for name, x in arrays[0].items())


def test_a_resumed_run_takes_no_other_demonstrations(run, file, tmp_path, cli_here):
    run("new", *WORDS, "--max-iters", "1", "--demonstrations", file)
    done = cli_here("--run-dir", tmp_path / "new", "--resume", "--max-iters", "2", "--demonstrations", "other.npz")
    assert done.returncode == 2 and "--resume: demonstrations='other.npz', but the run in" in done.stderr


def test_two_ranks_are_equal_and_clone_as_one_rank():
    script = Path(__file__).with_name("cloning_on_ranks.py")
    found = []
    for ranks in (1, 2):
        done = jobs.run(ranks, script, env=jobs.support_path())
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout.splitlines()[-1]))
    (alone,), (first, second) = found
    assert first == second
    assert first["start"] == alone["start"] and first["end"] != first["start"]
    assert "nowhere.npz: No such file" in first["error"]


# ---- command line


def test_episodes_that_play_saves_can_be_cloned(run, file, tmp_path, cli_here):
    folder, _ = run("new", *WORDS, "--max-iters", "1", "--demonstrations", file)
    played = tmp_path / "played.npz"
    done = cli_here("--play", "--load-path", folder, "--eval-episodes", "3", "--save-demonstrations", played, "--json")
    assert done.returncode == 0, done.stderr
    data, report = load_demonstrations(played), json.loads(done.stdout)
    assert data.episode_returns().tolist() == report["returns"] and data.steps == sum(report["lengths"])
    assert f"demonstrations, {data.steps:,} steps: {played}" in done.stderr
    assert not (folder / "play.gif").exists()
    _, said = run("again", *WORDS, "--max-iters", "1", "--demonstrations", played, "--alg", "ppo")
    assert f"demonstrations: {played}: {data.steps:,} steps, 3 episodes" in said


def test_rewards_are_scaled_like_those_of_the_training(run, tmp_path):
    data = demonstrations(2)
    save_demonstrations(tmp_path / "demo.npz", data)
    _, said = run("new", *WORDS, "--max-iters", "1", "--demonstrations", tmp_path / "demo.npz", "--reward-scale", "0.1")
    assert "2 episodes, mean return 50; " in said


@pytest.mark.parametrize(
    "words, parts",
    [
        (["--demonstrations", "nowhere.npz"], ["nowhere.npz: No such file or directory; demonstrations are a .npz"]),
        (["--env", "Pendulum-v1"], ["demo.npz: observations has shape (3000, 4); the environment's space Box("]),
        (["--load-path", "runs"], ["load_path and demonstrations both give the initial policy; leave one of them out"]),
        (["--demonstration-epochs", "0"], ["invalid demonstration_epochs=0: must be at least 1"]),
        (["--demonstration-stepsize", "-1"], ["invalid demonstration_stepsize=-1.0: must be greater than 0"]),
    ],
)
def test_invalid_demonstrations_are_refused_with_one_line_before_anything_is_written(
    words, parts, file, tmp_path, monkeypatch, cli_here
):
    monkeypatch.chdir(tmp_path)
    done = cli_here("--env", "CartPole-v1", "--run-dir", "new", "--demonstrations", file, *words)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert all(part in done.stderr for part in parts), done.stderr
    assert not (tmp_path / "new").exists()


def test_save_demonstrations_needs_play_and_a_name_that_ends_in_npz(cli_here, tmp_path):
    done = cli_here("--env", "CartPole-v1", "--save-demonstrations", "demo.npz")
    assert done.returncode == 2 and "--save-demonstrations needs --play" in done.stderr
    pi = MlpPolicy("pi", gym.spaces.Box(-1, 1, (4,)), gym.spaces.Discrete(2))
    pi.save(tmp_path / "policy.safetensors", env="CartPole-v1")
    words = ["--play", "--load-path", tmp_path / "policy.safetensors", "--save-demonstrations", tmp_path / "demo.txt"]
    done = cli_here(*words)
    assert done.returncode == 2 and "invalid --save-demonstrations=" in done.stderr and "end in .npz" in done.stderr


# ---- Python


@pytest.mark.parametrize(
    "options, message",
    [
        ({"demonstrations": 3}, "invalid demonstrations=3: must be text or a pathlib.Path"),
        ({"demonstrations": "a.npz", "load_path": "b"}, "load_path and demonstrations both give the initial policy"),
        ({"demonstration_epochs": 0}, "invalid demonstration_epochs=0"),
        ({"demonstration_stepsize": 0}, "invalid demonstration_stepsize=0"),
        ({"demonstrations": "none.npz"}, "none.npz: No such file"),
        ({"demonstrations": Demonstrations(np.zeros((9, 3)), np.zeros(9))}, r"has shape \(9, 3\); the environment's"),
        (
            {"demonstrations": Demonstrations(np.zeros((9, 4)), np.full(9, 2))},
            "actions is 2 in step 0; it must be in Discrete",
        ),
    ],
)
def test_learn_refuses_invalid_demonstrations(options, message):
    with pytest.raises(UserError, match=message):
        learn("CartPole-v1", uncompiled, max_iters=1, timesteps_per_actorbatch=64, **options)


def test_a_run_from_python_prints_and_records_them(file, tmp_path, capsys):
    learn(
        "CartPole-v1",
        uncompiled,
        demonstrations=file,
        demonstration_epochs=1,
        run_dir=tmp_path / "run",
        progress=True,
        timesteps_per_actorbatch=64,
        max_iters=1,
        seed=0,
    )
    assert "demonstrations: policy: 1 of 1 epochs; " in capsys.readouterr().out
    settings = json.loads((tmp_path / "run" / "config.json").read_text())["settings"]
    assert settings["demonstrations"] == str(file) and settings["demonstration_epochs"] == 1
