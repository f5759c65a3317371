"""It learns: tasks whose best return is known, trained with the preset for small tasks within a budget, and held to a bar."""

import gymnasium as gym
import numpy as np
import pytest
from small_envs import Identity

from baselines_ppo import MlpPolicy, learn
from baselines_ppo.config.presets import PRESETS
from baselines_ppo.play.command import evaluate
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
def test_identity_task_earns_95_percent_within_30k_steps(space):
    pi = train(lambda: Identity(space), 30_000, seed=0)
    returns, _ = evaluate(pi, Identity(space), 20, stochastic=False, seed=100)
    assert returns.mean() >= 95  # of 100


def test_continuous_identity_task_is_within_002_a_step_in_30k_steps():
    space = gym.spaces.Box(-1, 1, (1,), np.float32)
    pi = train(lambda: Identity(space), 30_000, seed=0)
    returns, _ = evaluate(pi, Identity(space), 20, stochastic=False, seed=100)
    assert returns.mean() / 100 >= -0.02  # doing nothing earns -0.33


def test_cartpole_is_solved_within_60k_steps():
    pi = train(lambda: gym.make("CartPole-v1"), 60_000, seed=0)
    returns, _ = evaluate(pi, gym.make("CartPole-v1"), 20, stochastic=False, seed=100)
    assert returns.mean() >= 475
