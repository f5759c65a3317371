"""Settings that may be given to a run that is resumed."""

import pytest

from baselines_ppo.experiment.setup import resolve_config
from baselines_ppo.train.resume import resumed_config
from common.errors import UserError


def test_totals_over_ranks_may_be_given_again():
    first = {"env": "Pendulum-v1", "preset": "mujoco", "max_iters": 2, "timesteps_per_actorbatch": 256}
    before = resolve_config(first, 2, 1)
    assert (before.rollout_steps, before.minibatch_samples) == (128, 64)  # 128 is the preset's total
    again = first | {"optim_batchsize": 128}
    assert resumed_config(again, before, 2, "run") == before
    other = first | {"optim_batchsize": 64}
    with pytest.raises(UserError, match="optim_batchsize=64, 32 per rank, but the run in run has 64;"):
        resumed_config(other, before, 2, "run")


@pytest.mark.parametrize("ranks", [1, 3, 100])
@pytest.mark.parametrize(
    "explicit",
    [
        {"preset": "mujoco"},
        {"batch": "per-rank"},
        {"preset": "ppo1", "clip_param": 0.1},
        {"policy": "cnn", "num_envs": 3},
        {"optim_batchsize": None},
        {"preset": "mujoco", "optim_batchsize": 2048, "hid_size": 8},
        {"timesteps_per_actorbatch": 64, "optim_batchsize": 32},
        {"alg": "trpo", "timesteps_per_batch": 100, "vf_batchsize": 100},
    ],
)
def test_settings_of_the_run_may_be_given_again_and_a_limit_replaces_another(explicit, ranks):
    explicit = {"env": "Pendulum-v1", "max_iters": 2} | explicit
    before = resolve_config(explicit, ranks, 1)
    assert resumed_config(explicit, before, ranks, "run") == resumed_config({}, before, ranks, "run") == before
    assert resumed_config({"num_timesteps": 5000}, before, ranks, "run") == before.with_run(
        num_timesteps=5000, max_iters=0
    )


@pytest.mark.parametrize(
    "explicit, then",
    [
        ({"bootstrap_time_limits": False}, True),
        ({"alg": "trpo"}, "'ppo'"),
        ({"policy": "cnn"}, "'mlp'"),
        ({"preset": "trpo"}, "'mujoco'"),
        ({"cg_iters": 5}, None),
        ({"hid_size": 9}, 8),
    ],
)
def test_a_setting_that_must_not_change_is_refused_by_name(explicit, then):
    before = resolve_config({"env": "Pendulum-v1", "preset": "mujoco", "hid_size": 8}, 1, 1)
    ((name, value),) = explicit.items()
    with pytest.raises(
        UserError,
        match=f"^--resume: {name}={value!r}, but the run in run has {then}; leave it out, or start a new run$",
    ):
        resumed_config(explicit, before, 1, "run")
