"""An environment of samples of any space, and small policies for it."""

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_ppo import MlpPolicy
from common.policies.base import Policy

BOX, TWO = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(2)
TINY = {"timesteps_per_actorbatch": 32, "optim_batchsize": 16, "optim_epochs": 1, "max_iters": 1, "seed": 0}


class SampleEnv(gym.Env):
    """Observes samples of its space, in episodes of ten steps."""

    def __init__(self, ob_space=BOX, ac_space=TWO):
        self.observation_space, self.action_space = ob_space, ac_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert action in self.action_space
        self.t += 1
        return self.observation_space.sample(), 1.0, False, self.t >= 10, {}


def small_mlp(name, ob_space, ac_space, **settings):
    return MlpPolicy(name, ob_space, ac_space, hid_size=4, **settings)


def assert_same_state(a, b):
    assert a.state().keys() == b.state().keys()
    for name, x in a.state().items():
        np.testing.assert_array_equal(b.state()[name], x, err_msg=name)


class LinearPolicy(Policy):
    """A custom policy with a setting of any type."""

    def __init__(self, name, ob_space, ac_space, extra=None):
        super().__init__(name, ob_space, ac_space, keep_images=False)
        self.extra = extra
        self.w = tf.Variable(tf.zeros([self.encoder.shape[0], self.pdtype.param_shape()[0] + 1]))

    def settings(self):
        return {"extra": self.extra}

    def forward(self, ob):
        y = tf.matmul(tf.cast(ob, tf.float32), self.w)
        return y[:, :-1], y[:, -1]
