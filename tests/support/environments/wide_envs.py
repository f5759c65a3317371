"""Environments of a given size: `--env wide_envs:Wide-v0 --env-kwargs '{"observations": 10000, "actions": 100}'`."""

import gymnasium as gym
import numpy as np


class Wide(gym.Env):
    """Random observations; the smaller the action, the better; episodes of 50."""

    def __init__(self, observations=10_000, actions=100, render_mode=None):
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (observations,), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (actions,), np.float32)
        self.render_mode = render_mode

    def _observed(self):
        return self.np_random.standard_normal(self.observation_space.shape, np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observed(), {}

    def step(self, action):
        self.steps += 1
        return self._observed(), -float(np.square(action).mean()), False, self.steps >= 50, {}


gym.register("Wide-v0", entry_point=Wide)
