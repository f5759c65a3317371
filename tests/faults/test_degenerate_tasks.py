"""Degenerate environments and policies train without NaN."""

import gymnasium as gym
import numpy as np
import pytest
from faulty_envs import Faulty
from small_envs import Identity
from small_policies import TinyMlp, train_tiny

from baselines_ppo import pposgd_simple, trpo_mpi

DISCRETE = gym.spaces.Discrete(3)


class Constant(gym.Env):
    """One observation, one reward; episodes of 5."""

    def __init__(self, space, reward=1.0):
        self.observation_space, self.action_space, self.reward = gym.spaces.Box(-9, 9, (2,), np.float32), space, reward

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.float32([7, 7]), {}

    def step(self, action):
        self.steps += 1
        return np.float32([7, 7]), self.reward, False, self.steps == 5, {}


def deterministic_policy(*args):
    """A policy with logits of 1e4 and more, so that all but one probability is 0."""
    pi = TinyMlp(*args)
    pi.weights["pol/final/b"].assign(np.linspace(-1e4, 1e4, pi.num_outputs).astype(np.float32))
    pi.initialise = lambda rng: None
    return pi


@pytest.mark.parametrize(
    "env, policy",
    [
        (Constant(gym.spaces.Discrete(1)), TinyMlp),
        (Constant(gym.spaces.Box(0, 0, (2,), np.float32), reward=0.0), TinyMlp),
        (Identity(DISCRETE), deterministic_policy),
        (Constant(gym.spaces.MultiBinary(3)), deterministic_policy),
        (Constant(gym.spaces.MultiDiscrete([1, 4])), deterministic_policy),
        (Faulty(scale=1e30), TinyMlp),
        (Faulty(length=1, dies=True), TinyMlp),
        (Faulty(length=1), TinyMlp),
        (Faulty(length=0), TinyMlp),
    ],
    ids=[
        "one action",
        "empty Box",
        "deterministic",
        "deterministic bits",
        "deterministic factors",
        "1e30",
        "terminates at once",
        "truncated at once",
        "never ends",
    ],
)
def test_degenerate_tasks_train_without_nan(env, policy):
    policies = []
    has_zero_fisher_matrix = isinstance(env, Constant) or policy is deterministic_policy
    trpo = [(trpo_mpi, {"timesteps_per_batch": 64})] if has_zero_fisher_matrix else []
    for algorithm, settings in ((pposgd_simple, {}), *trpo):
        rows = train_tiny(env, lambda *args: policies.append(policy(*args)) or policies[-1], algorithm, **settings)
        assert len(rows) == 3
        losses = [
            value
            for row in rows
            for name, value in row.items()
            if name.startswith("loss") or name in ("stepsize", "improvement")
        ]
        assert np.isfinite(losses).all() and all(np.isfinite(x.numpy()).all() for x in policies[-2].get_variables())
        if isinstance(env, Faulty) and env.length == 0:
            assert np.isnan(rows[-1]["EpRewMean"]) and rows[-1]["EpisodesSoFar"] == 0
