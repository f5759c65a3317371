"""Wrappers with running statistics are found at any depth of an environment."""

import gymnasium as gym
import numpy as np
import pytest

from common.envs.normalization_wrappers import describe_statistics, running_statistics
from common.running_mean_std import RunningMeanStd
from common.vec_env.in_process import InProcessVectorEnv

W = gym.wrappers


def cartpole():
    return gym.make("CartPole-v1")


class CustomNormalization(gym.RewardWrapper):
    """A custom wrapper with statistics of its rewards."""

    def __init__(self, env):
        super().__init__(env)
        self.ret_stats = RunningMeanStd()

    def reward(self, reward):
        return reward


class TableWrapper(gym.Wrapper):
    """A wrapper around a table, whose methods have the same names as statistics (as in pandas)."""

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
        (lambda: TableWrapper(cartpole()), {}),
        (lambda: W.TimeLimit(W.NormalizeObservation(cartpole()), 20), {"NormalizeObservation": "observations"}),
        (
            lambda: W.NormalizeReward(W.NormalizeObservation(cartpole())),
            {"NormalizeReward": "rewards", "NormalizeObservation": "observations"},
        ),
        (lambda: CustomNormalization(cartpole()), {"CustomNormalization": "rewards"}),
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
        "frozen",
        "table",
        "inside another",
        "two",
        "custom",
        "vector observations",
        "vector rewards",
        "SyncVectorEnv",
        "InProcessVectorEnv",
    ],
)
def test_running_statistics_are_found(make, found):
    assert running_statistics(make()) == found


def test_running_statistics_in_processes_of_gymnasium_are_found():
    env = gym.vector.AsyncVectorEnv([lambda: W.NormalizeReward(cartpole())] * 2)
    try:
        assert running_statistics(env) == {"NormalizeReward": "rewards"}
        assert env.reset(seed=0)[0].shape == (2, 4)
    finally:
        env.close()


def test_message_names_the_wrapper_and_the_setting_to_use_instead():
    message = describe_statistics(
        {"NormalizeReward": "rewards"}, {"observations": "normalise_ob=True", "rewards": "scale_returns=True"}
    )
    assert (
        message.startswith("the environment has NormalizeReward, whose running statistics are not saved")
        and "use scale_returns=True" in message
    )
    assert np.char.count(message, "\n") == 0
