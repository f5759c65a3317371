"""Policies for tests of what does not depend on how the update is compiled."""

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_ppo import MlpPolicy, Policy, learn
from common.rollouts.collector import traj_segment_generator


class Linear(Policy):
    """A custom policy: one matrix for policy and value."""

    def __init__(self, name, ob_space, ac_space):
        super().__init__(name, ob_space, ac_space)
        self.w = tf.Variable(tf.zeros([self.encoder.shape[0], self.pdtype.param_shape()[0] + 1]), name="w")

    def forward(self, ob):
        out = tf.cast(ob, tf.float32) @ self.w
        return out[:, :-1], out[:, -1]


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
