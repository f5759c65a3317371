"""Arguments of `learn`, policies and evaluations: numbers of any type are converted; an invalid one gives one line with its name."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from logs import Rows
from small_policies import uncompiled

from baselines_ppo import MlpPolicy, learn, trpo_mpi, vpg
from baselines_ppo.config.settings import PPOSettings
from common.errors import UserError
from common.rollouts.evaluation import evaluate
from common.rollouts.segment_generator import traj_segment_generator
from common.training.stopping import StopCriteria

TINY = {"timesteps_per_actorbatch": 64, "optim_batchsize": 32, "optim_epochs": 1, "max_iters": 1, "seed": 0}


def error_of(algorithm=learn, policy=uncompiled, **arguments):
    """The message of the UserError that `learn` raises for these arguments."""
    base = TINY if algorithm is learn else {"max_iters": 1}
    if any(name.startswith("max_") and name != "max_kl" for name in arguments):
        base = {name: x for name, x in base.items() if name != "max_iters"}
    with pytest.raises(UserError) as error:
        algorithm(gym.make("CartPole-v1"), policy, **base | arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


COUNTS = (
    "max_timesteps",
    "max_iters",
    "max_episodes",
    "timesteps_per_actorbatch",
    "optim_batchsize",
    "optim_epochs",
    "checkpoint_every",
    "env_threads",
    "seed",
)
NOT_COUNTS = {
    "text": "1e5",
    "True": True,
    "NumPy's True": np.True_,
    "a fraction": 1.5,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "complex": 1j,
    "Decimal": Decimal(2),
    "array": np.array(128),
    "array of one": np.array([128]),
    "tensor": tf.constant(128),
    "list": [2],
    "beyond int64": 2**63,
    "beyond every float": 10**400,
    "function": len,
}


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("kind", NOT_COUNTS)
def test_value_that_is_not_an_integer_is_rejected_by_name(name, kind):
    assert f"{name}=" in error_of(**{name: NOT_COUNTS[kind]})


NUMBERS = ("gamma", "lam", "clip_param", "optim_stepsize", "entcoeff", "vf_coef", "max_seconds", "target_kl")


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "x",
    ["0.99", True, float("nan"), np.array([0.99]), tf.constant(0.99), 1j, 10**400, lambda f: f * 0.2],
    ids=lambda x: type(x).__name__,
)
def test_value_that_is_not_a_number_is_rejected_by_name(name, x):
    assert f"{name}=" in error_of(**{name: x})


@pytest.mark.parametrize(
    "name, x",
    [
        ("progress", "no"),
        ("progress", 2),
        ("scale_returns", "false"),
        ("schedule", None),
        ("schedule", lambda f: f),
        ("objective", 3),
        ("averaging", None),
        ("run_dir", 3),
        ("load_path", 3.0),
        ("comm", 8),
        ("callback", 3),
    ],
)
def test_option_of_another_type_is_rejected_by_name(name, x):
    assert f"{name}=" in error_of(**{name: x})


def test_other_algorithms_check_their_arguments():
    for name in ("max_iters", "timesteps_per_batch", "cg_iters", "vf_iters"):
        assert f"{name}=" in error_of(trpo_mpi.learn, **{name: "2"})
    for name in ("max_timesteps", "timesteps_per_actorbatch", "vf_batchsize"):
        assert f"{name}=" in error_of(vpg.learn, **{name: 2.5})


def test_function_as_a_schedule_is_rejected_with_the_alternative():
    assert "must be a number, not a function; for a linear decrease to 0 set clip_schedule='linear'" in error_of(
        clip_param=lambda f: f * 0.2
    )
    assert "must be a number, not a function; for a linear decrease to 0 set schedule='linear'" in error_of(
        optim_stepsize=tf.keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.9)
    )
    assert "invalid policy_fn='Mlp': must be one of 'MlpPolicy', 'CnnPolicy', 'MixedPolicy', or a function" in error_of(
        policy="Mlp"
    )


@pytest.mark.parametrize(
    "x",
    [128, 128.0, np.int64(128), np.uint8(128), np.float64(128), np.float16(128), Fraction(128)],
    ids=lambda x: type(x).__name__,
)
def test_integers_of_any_type_are_converted_to_int(x):
    found = PPOSettings(timesteps_per_actorbatch=x, optim_batchsize=x)
    assert (found.timesteps_per_actorbatch, type(found.timesteps_per_actorbatch), type(found.optim_batchsize)) == (
        128,
        int,
        int,
    )
    assert type(StopCriteria(max_timesteps=x).max_timesteps) is int


def test_floats_and_bools_of_any_type_are_converted():
    found = PPOSettings(
        gamma=np.float64(0.5),
        lam=np.float32(0.5),
        clip_param=Fraction(1, 4),
        vf_coef=np.int64(1),
        scale_returns=np.True_,
        entcoeff=0,
    )
    assert [
        (x, type(x))
        for x in (found.gamma, found.lam, found.clip_param, found.vf_coef, found.scale_returns, found.entcoeff)
    ] == [(0.5, float), (0.5, float), (0.25, float), (1.0, float), (True, bool), (0, int)]
    assert StopCriteria(max_iters=3, max_timesteps=None) == StopCriteria(max_iters=3)


def test_run_with_numbers_of_other_types_is_identical(tmp_path):
    """Users of Baselines write max_timesteps=1e6; results and config are those of ints and floats."""
    builtin = {
        "timesteps_per_actorbatch": 64,
        "optim_batchsize": 32,
        "optim_epochs": 1,
        "max_timesteps": 128,
        "seed": 3,
        "gamma": 0.5,
        "lam": 0.75,
    }
    other = {
        "timesteps_per_actorbatch": np.int32(64),
        "optim_batchsize": 32.0,
        "optim_epochs": np.float32(1),
        "max_timesteps": 128.0,
        "seed": np.int64(3),
        "gamma": np.float32(0.5),
        "lam": Fraction(3, 4),
    }
    found = []
    for arguments in (builtin, other):
        found.append(Rows())
        learn(gym.make("CartPole-v1"), uncompiled, logger=found[-1], **arguments)
    one, two = ([{name: x for name, x in row.items() if name != "TimeElapsed"} for row in log.rows] for log in found)
    np.testing.assert_equal(one, two)
    assert len(one) == 2
    learn(gym.make("CartPole-v1"), uncompiled, run_dir=tmp_path / "run", checkpoint_every=np.float64(1), **other)
    settings = json.loads(Path(tmp_path / "run" / "config.json").read_text(encoding="utf-8"))["settings"]
    assert {name: settings[name] for name in builtin if name != "max_timesteps"} == {
        name: x for name, x in builtin.items() if name != "max_timesteps"
    }
    assert (
        type(settings["num_timesteps"])
        is type(settings["optim_batchsize"])
        is type(settings["checkpoint_every"])
        is int
    )


@pytest.mark.parametrize(
    "setting",
    [
        {"hid_size": "64"},
        {"hid_size": True},
        {"num_hid_layers": 1.5},
        {"vf_hid_size": tf.constant(8)},
        {"ob_clip": "5"},
        {"gaussian_fixed_var": "no"},
        {"normalise_ob": 1},
        {"init_logstd": None},
        {"ob_min_std": np.array([0.1])},
    ],
    ids=lambda x: next(iter(x)),
)
def test_policy_setting_of_another_type_is_rejected_by_name(setting):
    with pytest.raises(UserError, match=f"{next(iter(setting))}="):
        MlpPolicy("pi", gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(2), **setting)


def test_policy_accepts_integers_of_any_type():
    pi = MlpPolicy(
        "pi",
        gym.spaces.Box(-1, 1, (2,)),
        gym.spaces.Discrete(2),
        hid_size=8.0,
        num_hid_layers=np.int64(1),
        vf_hid_size=np.float32(4),
    )
    assert [
        (pi.settings()[name], type(pi.settings()[name])) for name in ("hid_size", "num_hid_layers", "vf_hid_size")
    ] == [(8, int), (1, int), (4, int)]


def test_evaluation_and_segment_generator_check_their_arguments():
    env = gym.make("CartPole-v1")
    pi = uncompiled("pi", env.observation_space, env.action_space)
    for call in (
        lambda: evaluate(pi, env, "3", True),
        lambda: evaluate(pi, env, 1.5, True),
        lambda: evaluate(pi, env, 1, True, seed="0"),
        lambda: next(traj_segment_generator(pi, env, "8", True)),
        lambda: next(traj_segment_generator(pi, env, 8, True, seed=0.5)),
    ):
        with pytest.raises(UserError, match="(episodes|seed|horizon)="):
            call()
    assert len(evaluate(pi, env, 2.0, True, seed=np.int64(1))[0]) == 2
    assert len(next(traj_segment_generator(pi, env, 8.0, True, seed=1.0))["rew"]) == 8
