"""The memory is shared, so it is not a variable of the value function; minibatches are of whole sequences."""

import gymnasium as gym
import pytest

from baselines_ppo import MlpPolicy, learn, trpo_mpi
from baselines_ppo.value_fit import split_variables
from common.errors import UserError

pytestmark = pytest.mark.usefixtures("uncompiled_here")


def recurrent(*spaces):
    return MlpPolicy(*spaces, hid_size=8, memory="gru", memory_size=6)


def test_the_memory_belongs_to_policy_and_value_function():
    env = gym.make("CartPole-v1")
    pi = recurrent("pi", env.observation_space, env.action_space)
    of_policy, of_value = ({x.name.split(":")[0] for x in part} for part in split_variables(pi))
    layers = ("fc1/w", "fc1/b", "fc2/w", "fc2/b", "final/w", "final/b")
    assert of_value == {f"vf/{name}" for name in layers}
    assert of_policy == {f"pol/{name}" for name in layers} | {f"memory/{name}" for name in ("x/w", "x/b", "h/w", "h/b")}


def test_a_minibatch_with_few_samples_is_one_sequence(caplog):
    """On many ranks the minibatch of one rank may be shorter than memory_steps."""
    caplog.set_level("INFO")
    learn("CartPole-v1", recurrent, timesteps_per_actorbatch=64, optim_batchsize=16, max_timesteps=64, seed=0)
    assert "sequences have 16 steps instead of memory_steps=32, because a minibatch of one rank has 16" in caplog.text


def test_a_minibatch_of_the_value_function_has_whole_sequences():
    with pytest.raises(UserError, match="invalid vf_batchsize=48: must be a multiple of 32"):
        trpo_mpi.learn("CartPole-v1", recurrent, timesteps_per_batch=128, vf_batchsize=48, max_timesteps=128, seed=0)
