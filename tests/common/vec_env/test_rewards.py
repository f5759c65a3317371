"""Rewards of any real type are summed in float64; other rewards are refused."""

import functools
from decimal import Decimal
from fractions import Fraction

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from scripted import ScriptedPolicy

from common.envs.factory import make_env
from common.envs.monitor import Monitor
from common.errors import EnvError
from common.rollouts.collector import Collector
from common.rollouts.evaluation import evaluate

MANY = 3000
REWARDS = {
    "float16": np.float16(1),
    "float32": np.float32(1),
    "int8": np.int8(1),
    "uint8": np.uint8(1),
    "bool": True,
    "numpy's bool": np.True_,
    "Fraction": Fraction(1),
    "Decimal": Decimal(1),
    "rank 0": np.array(1, np.float16),
    "shape (1,)": np.ones(1, np.float16),
    "tensor": tf.constant(1.0, tf.float16),
    "longdouble": np.longdouble(1),
}


class ConstantReward(gym.Env):
    """The same reward at every step; episodes of `length` steps."""

    observation_space, action_space = gym.spaces.Box(-1, 1, (2,), np.float32), gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, reward, length=MANY):
        self.reward, self.length = reward, length

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(2, np.float32), self.reward, False, self.t >= self.length, {}


@pytest.mark.parametrize("kind", REWARDS)
def test_rewards_of_any_type_are_summed_in_float64(kind, tmp_path):
    """In their own dtype, sums of float16 stop at 2,048, of int8 at 127 and of bool at True."""
    env = Monitor(ConstantReward(REWARDS[kind]), tmp_path / "m.csv")
    env.reset()
    for _ in range(MANY):
        env.step(0)
    ((ep_ret, ep_len),) = env.take_episodes()
    assert (ep_ret, ep_len, type(ep_ret)) == (MANY, MANY, float)
    assert (tmp_path / "m.csv").read_text(encoding="utf-8").splitlines()[2].startswith(f"{MANY}.000000,{MANY},")


def test_float32_rewards_are_summed_beyond_the_precision_of_float32():
    env = Monitor(ConstantReward(np.float32(1), length=10))
    env.reset()
    env.episode_return = 2.0**24
    for _ in range(10):
        env.step(0)
    assert env.take_episodes() == [(2.0**24 + 10, 10)]


@pytest.mark.parametrize("kind", ["float16", "shape (1,)", "tensor", "Decimal"])
@pytest.mark.parametrize("monitored", [True, False])
def test_collector_and_evaluation_give_equal_returns(kind, monitored):
    def env():
        return Monitor(ConstantReward(REWARDS[kind], 2100)) if monitored else ConstantReward(REWARDS[kind], 2100)

    pi = ScriptedPolicy(ConstantReward)
    assert Collector(env(), pi, 2100).collect(np.random.default_rng(0))["ep_rets"] == [2100]
    assert evaluate(pi, env(), 1, stochastic=True)[0].tolist() == [2100]


def test_float16_rewards_of_a_vector_env_are_summed_in_float64():
    class HalfPrecisionRewards(gym.vector.SyncVectorEnv):
        def step(self, actions):
            ob, rew, *rest = super().step(actions)
            return ob, rew.astype(np.float16), *rest

    env = HalfPrecisionRewards(
        [functools.partial(ConstantReward, 1.0, 2100)] * 2, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP
    )
    assert Collector(env, ScriptedPolicy(ConstantReward), 4200).collect(np.random.default_rng(0))["ep_rets"] == [
        2100,
        2100,
    ]


def test_reward_scale_does_not_overflow_in_the_dtype_of_the_reward():
    gym.register("HalfPrecisionReward-v0", entry_point=functools.partial(ConstantReward, np.float16(3)))
    try:
        env = make_env("HalfPrecisionReward-v0", reward_scale=1e6)  # beyond float16
        env.reset()
        assert env.step(0)[1] == 3e6
    finally:
        del gym.registry["HalfPrecisionReward-v0"]


@pytest.mark.parametrize(
    "reward", ["1.0", b"1", None, 1j, np.complex128(1), np.ones(2), np.array(["1"]), [1.0]], ids=repr
)
def test_reward_that_is_not_a_number_is_refused(reward):
    env = Monitor(ConstantReward(reward))
    env.reset()
    with pytest.raises(EnvError, match="returned the reward .*, which is not a number"):
        env.step(0)
