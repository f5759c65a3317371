"""Policies for tests of what does not depend on how the update is compiled."""

import gymnasium as gym
import numpy as np

from baselines_ppo import MlpPolicy, learn
from common.rollouts.collector import traj_segment_generator


def uncompiled(name, ob_space, ac_space, **settings):
    """An MlpPolicy of eight units without XLA, which takes seconds to compile what these tests compute in milliseconds."""
    pi = MlpPolicy(name, ob_space, ac_space, **{"hid_size": 8} | settings)
    pi.xla = False
    return pi


def trained(rows):
    """(policy that has learned CartPole for a second, observations [rows, 4] that it sees there, noise for as many actions)."""
    env = gym.make("CartPole-v1")
    pi = learn(env, uncompiled, timesteps_per_actorbatch=256, optim_epochs=4, optim_stepsize=3e-3, max_iters=4, seed=0)
    return (
        pi,
        next(traj_segment_generator(pi, env, rows, stochastic=True, seed=1))["ob"],
        pi.pdtype.noise(np.random.default_rng(1), (rows,)),
    )
