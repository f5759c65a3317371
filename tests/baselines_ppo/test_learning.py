"""Trainings on tasks with a known best return, with the preset for small tasks, must reach a minimum within a budget."""

import gymnasium as gym
import numpy as np
import pytest
from small_envs import Identity

from baselines_ppo import MlpPolicy, learn
from baselines_ppo.config.presets import PRESETS
from common.rollouts.evaluation import evaluate
from common.vec_env.in_process import InProcessVectorEnv

CLASSIC = PRESETS["classic"]


def train(make_env, timesteps, seed, **kwargs):
    env = InProcessVectorEnv([make_env() for _ in range(CLASSIC.num_envs)])
    return learn(
        env,
        lambda *args: MlpPolicy(*args, **CLASSIC.policy["mlp"]),
        max_timesteps=timesteps,
        seed=seed,
        **CLASSIC.learn | kwargs,
    )


@pytest.mark.parametrize(
    "space", [gym.spaces.Discrete(10), gym.spaces.MultiDiscrete([3, 3]), gym.spaces.MultiBinary(3)], ids=str
)
def test_identity_task_scores_95_percent_within_30k_steps(space):
    pi = train(lambda: Identity(space), 30_000, seed=0)
    returns, _ = evaluate(pi, Identity(space), 20, stochastic=False, seed=100)
    assert returns.mean() >= 95  # the best return is 100


def test_continuous_identity_task_loses_at_most_002_per_step_after_30k_steps():
    space = gym.spaces.Box(-1, 1, (1,), np.float32)
    pi = train(lambda: Identity(space), 30_000, seed=0)
    returns, _ = evaluate(pi, Identity(space), 20, stochastic=False, seed=100)
    assert returns.mean() / 100 >= -0.02  # a constant action of 0 scores -0.33


def test_cartpole_is_solved_within_60k_steps():
    pi = train(lambda: gym.make("CartPole-v1"), 60_000, seed=0)
    returns, _ = evaluate(pi, gym.make("CartPole-v1"), 20, stochastic=False, seed=100)
    assert returns.mean() >= 475
