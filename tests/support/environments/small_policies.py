"""Small policies and trainings for tests that do not depend on how the update is compiled."""

import gymnasium as gym
import numpy as np
import tensorflow as tf
from logs import Rows

from baselines_ppo import MlpPolicy, Policy, learn, pposgd_simple
from common.loggers.logger import Logger
from common.rollouts.segment_generator import traj_segment_generator
from common.runs.run_directory import RunDirectory

PPO = {"timesteps_per_actorbatch": 64, "optim_batchsize": 16, "optim_epochs": 2}


class Linear(Policy):
    """A custom policy: one matrix for policy and value."""

    def __init__(self, name, ob_space, ac_space):
        super().__init__(name, ob_space, ac_space)
        self.w = tf.Variable(tf.zeros([self.encoder.shape[0], self.pdtype.param_shape()[0] + 1]), name="w")

    def forward(self, ob):
        out = tf.cast(ob, tf.float32) @ self.w
        return out[:, :-1], out[:, -1]


def uncompiled(name, ob_space, ac_space, **settings):
    """An MlpPolicy with eight units and without XLA, whose compilation takes seconds, while the tests compute for milliseconds."""
    pi = MlpPolicy(name, ob_space, ac_space, **{"hid_size": 8} | settings)
    pi.xla = False
    return pi


def trained(samples):
    """(policy trained on CartPole for a second, observations [samples, 4] that it gets there, noise for the same number of actions)."""
    env = gym.make("CartPole-v1")
    pi = learn(env, uncompiled, timesteps_per_actorbatch=256, optim_epochs=4, optim_stepsize=3e-3, max_iters=4, seed=0)
    return (
        pi,
        next(traj_segment_generator(pi, env, samples, stochastic=True, seed=1))["ob"],
        pi.pdtype.noise(np.random.default_rng(1), (samples,)),
    )


class TinyMlp(MlpPolicy):
    """Without XLA, which halves the start-up time."""

    xla = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{"hid_size": 4, "num_hid_layers": 1} | kwargs)


def train_tiny(env, policy=TinyMlp, algorithm=pposgd_simple, folder=None, **settings):
    """Train shortly; returns the rows of the log."""
    log = Rows()
    defaults = {"max_iters": 3, "seed": 1, "checkpoint_every": 1} | (PPO if algorithm is pposgd_simple else {})
    algorithm.learn(env, policy, logger=Logger([log]), folder=folder and RunDirectory(folder), **defaults | settings)
    return log.rows
