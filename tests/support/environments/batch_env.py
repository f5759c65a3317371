"""A `VectorEnv` that keeps the promises of its autoreset mode, for tests that break one, and the collection of its steps."""

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array
from small_policies import uncompiled

from common.errors import EnvError
from common.rollouts.collector import Collector
from common.vec_env.vector_env_checker import env_layout


class BatchEnv(gym.vector.VectorEnv):
    """K environments whose observations count their steps; environment k is cut after 3 + k of them.

    Args:
        mode: the autoreset mode that it follows.
        space: of one observation, a Box of two numbers, or a Dict or Tuple of such Boxes.
    """

    def __init__(self, mode=AutoresetMode.SAME_STEP, num_envs=3, space=None):
        self.mode, self.num_envs, self.metadata, self.seeds = mode, num_envs, {"autoreset_mode": mode}, []
        space = space or gym.spaces.Box(-1, 99, (2,), np.float32)
        self.single_observation_space, self.single_action_space = space, gym.spaces.Discrete(2)
        self.observation_space, self.action_space = (
            batch_space(space, num_envs),
            batch_space(gym.spaces.Discrete(2), num_envs),
        )
        self.t = np.zeros(num_envs, int)

    def one(self, k):
        """The observation of environment k."""
        ob = np.full(2, self.t[k], np.float32)
        space = self.single_observation_space
        return (
            {name: ob for name in space}
            if isinstance(space, gym.spaces.Dict)
            else (ob,) * len(space)
            if isinstance(space, gym.spaces.Tuple)
            else ob
        )

    def observed(self):
        """The batch of all."""
        space = self.single_observation_space
        return concatenate(space, [self.one(k) for k in range(self.num_envs)], create_empty_array(space, self.num_envs))

    def reset(self, *, seed=None, options=None):
        self.seeds.append(seed)
        self.t[(options or {}).get("reset_mask", np.ones(self.num_envs, bool))] = 0
        return self.observed(), {}

    def step(self, actions):
        self.t += 1
        ends, infos, obs = self.t == 3 + np.arange(self.num_envs), {}, self.observed()
        if self.mode is AutoresetMode.NEXT_STEP:
            self.t[ends] = -1
        if self.mode is AutoresetMode.SAME_STEP and ends.any():
            infos = {
                "final_obs": np.array(
                    [self.one(k) if ends[k] else None for k in range(self.num_envs)] + [None], object
                )[:-1]
            }
            self.t[ends] = 0
            obs = self.observed()
        return obs, np.ones(self.num_envs), np.zeros(self.num_envs, bool), ends, infos


PARTS = {
    "Dict": gym.spaces.Dict(a=Box(-1, 99, (2,)), b=Box(-1, 99, (2,))),
    "Tuple": gym.spaces.Tuple((Box(-1, 99, (2,)), Box(-1, 99, (2,)))),
    "Box": Box(-1, 99, (2,)),
}


class SingleEnv(gym.Env):
    """One environment, whose class may have attributes that a vector environment has."""

    observation_space, action_space = Box(-1, 1, (2,), np.float32), gym.spaces.Discrete(2)
    reward = 1.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.t += 1
        return self.observation_space.sample(), self.reward, False, self.t >= 5, {}


def with_changed_result(env, method, change):
    """Return `env` after replacing the result of `method` with `change(result)`."""
    original = getattr(env, method)
    setattr(env, method, lambda *args, **kwargs: change(original(*args, **kwargs)))
    return env


def collect_or_error(env, steps=12):
    """Return a segment of `steps` steps of each environment, or the message of its EnvError."""
    layout = env_layout(env)
    collector = Collector(env, uncompiled("pi", layout.ob_space, layout.ac_space), steps * layout.num_envs)
    try:
        collector.reset([0] * layout.num_envs)
        return collector.collect(np.random.default_rng(0))
    except EnvError as error:
        return str(error)
