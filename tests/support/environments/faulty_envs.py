"""Environments that fail where and how their arguments request: `--env faulty_envs:Faulty-v0 --env-kwargs '{"fault": "raises_in_step"}'`."""

import os

import gymnasium as gym
import numpy as np

from common.envs.monitor import Monitor

BOX = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)

# fault -> what step returns instead of the observation, or of the reward
OBSERVATIONS = {
    "ob_nan": np.float32([0, np.nan]),
    "ob_inf": np.float32([-np.inf, 0]),
    "ob_shape": np.zeros(3, np.float32),
    "ob_one": np.zeros(1, np.float32),
    "ob_number": 1.0,
    "ob_text": "ab",
    "ob_texts": np.array(["1", "2"]),
    "ob_none": None,
    "ob_object": np.array([1, 2], object),
    "ob_complex": np.array([1j, 2]),
    "ob_list": [0.5, 0.5],
    "ob_float64": np.zeros(2),
    "ob_ragged": [[1.0], [1.0, 2.0]],
}
REWARDS = {
    "rew_nan": np.nan,
    "rew_inf": np.inf,
    "rew_none": None,
    "rew_two": np.zeros(2),
    "rew_text": "1.0",
    "rew_complex": 1j,
    "rew_huge": 1e38,
}
# fault -> what it returns for False and True; NumPy's values and numbers are accepted
ENDS = {
    "end_numpy": (np.False_, np.True_),
    "end_int": (0, 1),
    "end_array": (np.array(False), np.array(True)),
    "end_none": (None, True),
    "end_text": ("False", "True"),
    "end_list": ([False], [True]),
}


class Faulty(gym.Env):
    """Episodes of 10 steps, truncated by a limit. After `at` steps, counted over episodes, `fault` happens.

    Args:
        on_rank: the only rank on which it happens, if a launcher sets the rank; None for all.
        scale: factor of observations.
        reward: reward of a step.
        length: steps of an episode, 0 for no end.
        dies: whether episodes end by termination instead of truncation.
    """

    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    observation_space = BOX

    def __init__(
        self,
        fault="none",
        at=25,
        on_rank=None,
        scale=1.0,
        reward=1.0,
        length=10,
        dies=False,
        wide=False,
        render_mode=None,
    ):
        self.fault, self.at, self.scale, self.reward, self.length, self.dies = fault, at, scale, reward, length, dies
        if on_rank is not None and os.environ.get("PMI_RANK") != str(on_rank):
            self.fault = "none"
        self.total, self.render_mode = 0, render_mode
        if wide:
            self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)

    def _observed(self):
        return (self.scale * self.np_random.standard_normal(2)).astype(self.observation_space.dtype)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        if self.total >= self.at and self.fault == "raises_in_reset" or self.fault == "raises_at_once":
            raise ValueError("no level\ncould be loaded")
        if self.total >= self.at and self.fault == "reset_nan":
            return np.float32([np.nan, 0]), {}
        if self.total >= self.at and self.fault == "reset_alone":
            return self._observed()
        return self._observed(), {"terminated": True} if self.fault == "ends_change" else {}

    def close(self):
        if self.fault == "raises_in_step" and self.total > self.at:
            raise RuntimeError("nor can it be closed")

    def step(self, action):
        self.total += 1
        self.steps += 1
        bad = self.total > self.at
        if bad and self.fault == "raises_in_step":
            raise RuntimeError("the simulator broke")
        if bad and self.fault == "four":
            return self._observed(), 1.0, False, {}
        ob = OBSERVATIONS.get(self.fault) if bad and self.fault in OBSERVATIONS else self._observed()
        rew = REWARDS.get(self.fault) if bad and self.fault in REWARDS else self.reward
        over = (
            self.steps == self.length
            or bad
            and (self.fault == "ends_again" or self.fault == "ends_change" and self.total % 2 == 0)
        )
        no, yes = ENDS.get(self.fault, (False, True)) if bad else (False, True)
        return ob, rew, yes if over and self.dies else no, yes if over and not self.dies else no, {}


def make(fault, k):
    """Environment 1 goes wrong: at its 26th step, or in the reset after its 30th; episodes are of 10."""
    return Monitor(Faulty(fault if k == 1 else "none"))


gym.register("Faulty-v0", entry_point=Faulty)
