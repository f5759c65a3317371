"""Long and large: what is small, wide, many or long trains as anything else does, and a long run's memory and files stay what they were."""

import json

import gymnasium as gym
import numpy as np
import pytest
from jobs import RUN, run
from small_envs import Identity
from wide_envs import Wide

from baselines_ppo import MlpPolicy, pposgd_simple, trpo_mpi, vpg
from baselines_ppo.config.resolve import resolve
from baselines_ppo.experiment.summary import print_run_header
from common.vec_env.in_process import InProcessVectorEnv


def finite(pi):
    return all(np.isfinite(x).all() for x in pi.state().values())


@pytest.mark.parametrize(
    "space", [gym.spaces.MultiDiscrete([2, 3] * 50), gym.spaces.MultiBinary(100)], ids=["factors", "bits"]
)
def test_a_hundred_actions_of_other_kinds_train(space, uncompiled_here):
    pi = pposgd_simple.learn(
        Identity(space),
        lambda *args: MlpPolicy(*args, hid_size=8),
        timesteps_per_actorbatch=64,
        optim_epochs=1,
        max_iters=2,
        seed=0,
    )
    assert finite(pi) and space.contains(pi.act(True, space.sample())[0].astype(space.dtype))


def test_ten_thousand_observations_and_a_hundred_actions_train(uncompiled_here):
    pi = pposgd_simple.learn(
        Wide(),
        lambda *args: MlpPolicy(*args, hid_size=8),
        timesteps_per_actorbatch=128,
        optim_epochs=1,
        max_iters=3,
        seed=0,
    )
    assert finite(pi) and pi.act(True, Wide().reset(seed=0)[0])[0].shape == (100,)


def test_sixty_four_environments_in_one_rank_are_all_stepped(uncompiled_here):
    rows = []
    pi = pposgd_simple.learn(
        InProcessVectorEnv([Identity(gym.spaces.Discrete(4)) for _ in range(64)]),
        MlpPolicy,
        timesteps_per_actorbatch=64 * 8,
        optim_epochs=1,
        max_iters=3,
        seed=0,
        callback=lambda now, _: rows.append(now["seg"] and now["seg"]["ob"].shape[:2]),
    )
    assert finite(pi) and rows[-1] == (8, 64)


@pytest.mark.parametrize(
    "learn, settings",
    [
        (pposgd_simple.learn, {"timesteps_per_actorbatch": 1, "optim_batchsize": 1}),
        (pposgd_simple.learn, {"timesteps_per_actorbatch": 8, "optim_batchsize": 1}),
        (trpo_mpi.learn, {"timesteps_per_batch": 1, "vf_batchsize": 1}),
        (vpg.learn, {"timesteps_per_actorbatch": 1, "vf_batchsize": 1, "whole_episodes": False, "vf_iters": 0}),
    ],
    ids=["a segment of 1", "a batch of 1", "trpo", "vpg"],
)
def test_a_segment_of_one_step_and_a_batch_of_one_row_train(learn, settings, uncompiled_here):
    pi = learn(Identity(gym.spaces.Box(-1, 1, (1,), np.float32)), MlpPolicy, max_iters=5, seed=0, **settings)
    assert finite(pi)


@pytest.mark.parametrize(
    "explicit, warns",
    [
        ({"timesteps_per_actorbatch": 1, "optim_batchsize": 1}, True),
        ({"timesteps_per_actorbatch": 2, "optim_batchsize": 1}, False),
        ({"alg": "trpo", "timesteps_per_batch": 1, "vf_batchsize": 1}, True),
        ({"preset": "a2c", "timesteps_per_actorbatch": 1}, False),
    ],
    ids=["ppo", "two steps", "trpo", "a2c"],
)
def test_run_header_warns_if_one_step_per_batch_cannot_train_the_policy(explicit, warns, capsys):
    explicit = {"env": "CartPole-v1", "batch": "per-rank", "num_envs": 1, "max_iters": 1} | explicit
    print_run_header(resolve(explicit, 1, "classic", "CartPole-v1", "mlp"), 1)
    assert ("the policy does not learn" in capsys.readouterr().out) == warns


@pytest.mark.slow  # 16 starts of TensorFlow
def test_sixteen_ranks_on_whatever_cores_there_are(tmp_path):
    done = run(
        16,
        RUN,
        "--env",
        "Pendulum-v1",
        "--num-timesteps",
        "16384",
        "--run-dir",
        tmp_path / "run",
        "--report",
        "false",
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert (
        len(list((tmp_path / "run").glob("*.monitor.csv")))
        == json.loads((tmp_path / "run" / "config.json").read_text())["ranks"]
        == 16
    )


@pytest.mark.slow  # some minutes
@pytest.mark.timeout(3000)
def test_ten_million_steps_leave_memory_and_files_as_they_were(tmp_path):
    done = run(
        1,
        "-m",
        "benchmarks.throughput.memory",
        "--env",
        "CartPole-v1",
        "--num-timesteps",
        "1e7",
        "--json",
        tmp_path / "found.json",
        "--num-envs",
        "64",
        "--timesteps-per-actorbatch",
        "16384",
        "--optim-batchsize",
        "1024",
        "--optim-epochs",
        "2",
        "--report",
        "false",
        timeout=2900,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    then, end = found["files"]["at a tenth"], found["files"]["at the end"]
    assert found["grown"]["0"] < 10, found  # MB, of nine million steps
    # three and a forced one; more digits
    assert end["checkpoints"] <= 4 and end["bytes_per_checkpoint"] < 1.01 * then["bytes_per_checkpoint"], found
    assert end["others"] <= then["others"] + 1, found  # policy/
    # more digits
    assert (
        end["bytes_per_row"] < 1.1 * then["bytes_per_row"]
        and end["bytes_per_episode"] < 1.3 * then["bytes_per_episode"]
    ), found
