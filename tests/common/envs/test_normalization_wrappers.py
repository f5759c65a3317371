"""Wrappers with running statistics are found wherever they are in an environment."""

import gymnasium as gym
import numpy as np
import pytest

from common.envs.normalization_wrappers import describe_statistics, running_statistics
from common.running_mean_std import RunningMeanStd
from common.vec_env.in_process import InProcessVectorEnv

W = gym.wrappers


def cartpole():
    return gym.make("CartPole-v1")


class Standardised(gym.RewardWrapper):
    """Somebody's own."""

    def __init__(self, env):
        super().__init__(env)
        self.ret_stats = RunningMeanStd()

    def reward(self, reward):
        return reward


class Table(gym.Wrapper):
    """Has data with methods of the same names, as pandas' tables have."""

    class Data:
        def mean(self): ...

        var = count = update = mean

    def __init__(self, env):
        super().__init__(env)
        self.data = self.Data()


def frozen():
    env = W.NormalizeObservation(cartpole())
    env.update_running_mean = False
    return env


@pytest.mark.parametrize(
    "make, found",
    [
        (cartpole, {}),
        (frozen, {}),
        (lambda: Table(cartpole()), {}),
        (lambda: W.TimeLimit(W.NormalizeObservation(cartpole()), 20), {"NormalizeObservation": "observations"}),
        (
            lambda: W.NormalizeReward(W.NormalizeObservation(cartpole())),
            {"NormalizeReward": "rewards", "NormalizeObservation": "observations"},
        ),
        (lambda: Standardised(cartpole()), {"Standardised": "rewards"}),
        (
            lambda: W.vector.NormalizeObservation(gym.make_vec("CartPole-v1", 2)),
            {"NormalizeObservation": "observations"},
        ),
        (lambda: W.vector.NormalizeReward(gym.make_vec("CartPole-v1", 2)), {"NormalizeReward": "rewards"}),
        (lambda: gym.vector.SyncVectorEnv([lambda: W.NormalizeReward(cartpole())] * 2), {"NormalizeReward": "rewards"}),
        (lambda: InProcessVectorEnv([W.NormalizeReward(cartpole())]), {"NormalizeReward": "rewards"}),
    ],
    ids=[
        "none",
        "stand still",
        "a table",
        "below another",
        "two",
        "own",
        "vector observations",
        "vector rewards",
        "SyncVectorEnv",
        "ours",
    ],
)
def test_running_statistics_are_found(make, found):
    assert running_statistics(make()) == found


def test_those_in_processes_of_gymnasiums_are_found():
    env = gym.vector.AsyncVectorEnv([lambda: W.NormalizeReward(cartpole())] * 2)
    try:
        assert running_statistics(env) == {"NormalizeReward": "rewards"}
        assert env.reset(seed=0)[0].shape == (2, 4)
    finally:
        env.close()


def test_the_line_names_the_wrapper_and_the_setting_that_has_the_same():
    words = describe_statistics(
        {"NormalizeReward": "rewards"}, {"observations": "normalise_ob=True", "rewards": "scale_returns=True"}
    )
    assert (
        words.startswith("the environment has NormalizeReward, whose running statistics are not saved")
        and "use scale_returns=True" in words
    )
    assert np.char.count(words, "\n") == 0
