"""Every algorithm trains a policy with a memory; the memory is shared, so it is not a variable of the value function."""

import gymnasium as gym
import numpy as np
import pytest

from baselines_ppo import MlpPolicy, learn, trpo_mpi, vpg
from baselines_ppo.value_fit import split_variables, value_variables
from common.errors import UserError

pytestmark = pytest.mark.usefixtures("uncompiled_here")
PPO = {"timesteps_per_actorbatch": 128, "optim_batchsize": 64, "optim_epochs": 1, "max_timesteps": 128}


def recurrent(*spaces):
    return MlpPolicy(*spaces, hid_size=8, memory="gru", memory_size=6)


def test_the_memory_belongs_to_policy_and_value_function():
    env = gym.make("CartPole-v1")
    pi = recurrent("pi", env.observation_space, env.action_space)
    of_policy, of_value = ({x.name.split(":")[0] for x in part} for part in split_variables(pi))
    layers = ("fc1/w", "fc1/b", "fc2/w", "fc2/b", "final/w", "final/b")
    assert of_value == {f"vf/{name}" for name in layers}
    assert of_policy == {f"pol/{name}" for name in layers} | {f"memory/{name}" for name in ("x/w", "x/b", "h/w", "h/b")}


@pytest.mark.parametrize(
    "algorithm, settings",
    [
        (learn, PPO | {"vf_stepsize": 1e-3}),
        (learn, PPO | {"vf_iters": 1}),
        (trpo_mpi.learn, {"timesteps_per_batch": 128, "max_timesteps": 128, "vf_batchsize": 64}),
        (vpg.learn, {"timesteps_per_actorbatch": 128, "max_timesteps": 128}),
        (vpg.learn, {"timesteps_per_actorbatch": 32, "max_timesteps": 64, "vf_iters": 0}),
        (vpg.learn, {"timesteps_per_actorbatch": 64, "max_timesteps": 128, "whole_episodes": True}),
    ],
    ids=["ppo, learning rate of V", "ppo, fit of V", "trpo", "vpg", "a2c", "whole episodes"],
)
def test_an_algorithm_trains_a_memory(algorithm, settings):
    env = gym.make("CartPole-v1")
    initial = []

    def remember(locals_, globals_):
        initial.append(locals_["pi"].weights["memory/h/w"].numpy())

    pi = algorithm(env, lambda *spaces: recurrent(*spaces), seed=0, callback=remember, **settings)
    trained = pi.weights["memory/h/w"].numpy()
    assert np.isfinite(trained).all() and (trained != initial[0]).any()
    own = {x.name for x in value_variables(pi)}
    assert not any(name.startswith("memory") for name in own)


def test_a_minibatch_with_few_samples_is_one_sequence(caplog):
    """On many ranks the minibatch of one rank may be shorter than memory_steps."""
    caplog.set_level("INFO")
    learn("CartPole-v1", recurrent, timesteps_per_actorbatch=64, optim_batchsize=16, max_timesteps=64, seed=0)
    assert "sequences have 16 steps instead of memory_steps=32, because a minibatch of one rank has 16" in caplog.text


def test_a_minibatch_of_the_value_function_has_whole_sequences():
    with pytest.raises(UserError, match="invalid vf_batchsize=48: must be a multiple of 32"):
        trpo_mpi.learn("CartPole-v1", recurrent, timesteps_per_batch=128, vf_batchsize=48, max_timesteps=128, seed=0)
