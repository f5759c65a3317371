"""Environments that fail, registered for the command line: `--env odd_envs:TextAction-v0`."""

import errno
import os

import gymnasium as gym
import numpy as np


class Odd(gym.Env):
    """Fails at the hundredth step, in the way that `fault` names."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, fault=None, render_mode=None):
        self.fault, self.steps, self.render_mode = fault, 0, render_mode
        if fault == "text":
            self.action_space = gym.spaces.Text(5)
        if fault == "nothing":
            self.observation_space = gym.spaces.Box(-1, 1, (0,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        bad = self.steps >= 100
        ob = np.full(2, np.nan if bad and self.fault == "nan" else 0.0, np.float32)
        if bad and self.fault == "raise":
            raise RuntimeError("the simulator broke")
        if bad and self.fault == "oserror":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "the simulator's own file")
        return ob, 0.0, False, self.steps % 50 == 0, {}


for fault in ("text", "nothing", "nan", "raise", "oserror"):
    gym.register(f"{fault.title()}-v0", entry_point=Odd, kwargs={"fault": fault})
