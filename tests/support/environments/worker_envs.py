"""Environments for worker processes, which import them from here, and rollouts of them."""

import gymnasium as gym
import numpy as np

from common.errors import UserError


class Counting(gym.Env):
    """Observes its index and its step, as a Dict; episodes of 3 + k steps, every second one truncated."""

    observation_space = gym.spaces.Dict({"k": gym.spaces.Discrete(8), "steps": gym.spaces.Box(0, 99, (2,), np.float32)})
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, k):
        self.k, self.episodes = k or 0, 0

    def observe(self):
        return {"k": self.k, "steps": np.full(2, self.steps, np.float32)}

    def reset(self, *, seed=None, options=None):
        self.steps, self.episodes = 0, self.episodes + 1
        return self.observe(), {}

    def step(self, action):
        self.steps += 1
        end = self.steps == 3 + self.k
        return self.observe(), float(action[0]), end and self.episodes % 2 == 0, end and self.episodes % 2 == 1, {}


# a simulator in a separate process may raise EOFError, as the pipe of a worker does when it closes
FAULTS = {"step": ZeroDivisionError, "pipe": EOFError}


class Faulty(Counting):
    """Fails in environment 1: in the constructor for the fault "make", otherwise in `step`."""

    def __init__(self, fault, k):
        super().__init__(k)
        if fault == "make" and k == 1:
            raise UserError("environment 1 cannot be made")
        self.fault = fault if k == 1 else None

    def step(self, action):
        if self.fault in FAULTS:
            raise FAULTS[self.fault]("the simulator broke")
        return super().step(action)


def rollout(env, steps, actions):
    """Return the results of `steps` calls of `step_into` and the monitors' episodes."""
    space = env.single_observation_space
    boxes = isinstance(space, gym.spaces.Box)
    obs = (
        np.zeros((steps + 1, env.num_envs, *space.shape), space.dtype)
        if boxes
        else np.empty((steps + 1, env.num_envs), object)
    )
    rew, ended = np.zeros((steps, env.num_envs)), []
    for t in range(steps):
        ended += [
            (t, k, ob, terminated, truncated)
            for k, ob, _, terminated, truncated in env.step_into(actions[t], obs, t + 1, rew, t)
        ]
    env.write_rewards()
    return obs[1:], rew, ended, [monitor.take_episodes() for monitor in env.monitors]
