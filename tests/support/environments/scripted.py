"""A scripted environment with terminations and time limits, and a policy for it.

Every observation and reward identifies its environment, episode and step.
"""

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from common.distributions import make_pdtype
from common.envs.monitor import Monitor
from common.policies.observation_encoder import ObservationEncoder
from common.vec_env.in_process import InProcessVectorEnv

SCRIPT = [(3, "death"), (1, "limit"), (4, "limit"), (1, "death"), (2, "both"), (6, "limit"), (2, "limit")]
LOW, HIGH = np.float32([-1, -np.inf]), np.float32([0.5, 0])
GAMMA, LAM = 0.9, 0.8
MODES = [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED]


def script(k, episode):
    return SCRIPT[(episode + 2 * k) % len(SCRIPT)]


def observation(k, episode, step):
    return np.float32([k, episode, step])


def reward(k, episode, step):
    return 1 + 0.5 * k - 0.25 * episode + step**2


def value(ob):
    return ob @ np.float32([0.25, -0.5, 1.5])


class ScriptedEnv(gym.Env):
    observation_space = gym.spaces.Box(-np.inf, np.inf, (3,))
    action_space = gym.spaces.Box(LOW, HIGH)

    def __init__(self, k):
        self.k, self.episode, self.actions = k, -1, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return observation(self.k, self.episode, 0), {}

    def step(self, action):
        self.actions.append(np.array(action))
        rew = reward(self.k, self.episode, self.t)
        self.t += 1
        length, end = script(self.k, self.episode)
        assert self.t <= length, "stepped beyond the end of an episode"
        over = self.t == length
        return observation(self.k, self.episode, self.t), rew, over and end != "limit", over and end != "death", {}


class ScriptedPolicy:
    """Acts with three times the noise, beyond the box; its value is `value`."""

    recurrent = False

    def __init__(self, env_class):
        self.encoder, self.pdtype = ObservationEncoder(env_class.observation_space), make_pdtype(env_class.action_space)

    def actor(self, num_envs, noise):
        return lambda ob, t: self.pdtype.to_space_shape(3 * noise[t])

    def values(self, encoded):
        return value(encoded)


def passed_as(kind, num_envs=3, env_class=ScriptedEnv):
    """(what is given to the collector, the environments inside)."""
    envs = [env_class(k) for k in range(num_envs)]
    if kind == "env":
        return envs[0], envs[:1]
    if kind == "monitored":
        return InProcessVectorEnv([Monitor(env) for env in envs]), envs
    if kind == "in_process":
        return InProcessVectorEnv(envs), envs
    return SyncVectorEnv([lambda env=env: env for env in envs], autoreset_mode=kind), envs
