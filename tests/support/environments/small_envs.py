"""Small environments that are learned in seconds, or whose behaviour is fully known."""

import gymnasium as gym
import numpy as np


class Identity(gym.Env):
    """Repeat the observation: reward 1 (a fraction, for several parts) for a match; episodes of 100 steps.

    For a Box the reward is -(ac - ob)^2, with observations uniform in [-1, 1]: the action 0 has a mean reward of -1/3.
    """

    def __init__(self, space):
        self.observation_space = self.action_space = space

    def _draw(self):
        space = self.action_space
        if isinstance(space, gym.spaces.Box):
            return self.np_random.uniform(-1, 1, space.shape).astype(np.float32)
        if isinstance(space, gym.spaces.Discrete):
            return int(self.np_random.integers(space.n)) + int(space.start)
        if isinstance(space, gym.spaces.MultiDiscrete):
            return (self.np_random.integers(space.nvec) + space.start).astype(space.dtype)
        return self.np_random.integers(0, 2, space.shape).astype(space.dtype)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.ob = 0, self._draw()
        return self.ob, {}

    def step(self, action):
        if isinstance(self.action_space, gym.spaces.Box):
            rew = -float(np.square(action - self.ob).sum())
        else:
            rew = float(np.mean(np.asarray(action) == np.asarray(self.ob)))
        self.steps += 1
        self.ob = self._draw()
        return self.ob, rew, False, self.steps >= 100, {}


class Ragged(gym.Env):
    """Episodes of random length, half of them truncated; observations and actions of two numbers."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, 12))
        return self.np_random.standard_normal(2), {}

    def step(self, action):
        self.left -= 1
        ended, cut = self.left == 0, self.np_random.random() < 0.5
        return self.np_random.standard_normal(2), float(action.sum()), ended and not cut, ended and cut, {}


class FarAway(gym.Env):
    """Classify the observation, one of four that differ by 1 at an offset of 1,000.

    Without normalization by running statistics it cannot be learned.
    """

    observation_space, action_space = gym.spaces.Box(-np.inf, np.inf, (4,), np.float64), gym.spaces.Discrete(4)

    def _draw(self):
        self.right = int(self.np_random.integers(4))
        return 1000.0 + np.eye(4)[self.right]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._draw(), {}

    def step(self, action):
        rew = float(action == self.right)
        self.steps += 1
        return self._draw(), rew, False, self.steps >= 100, {}


class Ring(gym.Env):
    """Eight places in a ring, observed one-hot. The first place is random. Episodes are truncated after `limit` steps.

    Action 0 stays, with reward 0.1. Action 1 moves on, with reward 2 for each full round: 0.25 per step. A learner that
    treats truncation as termination does not learn to move from a place far from the end of the round.
    """

    observation_space, action_space = gym.spaces.Box(0, 1, (8,), np.float32), gym.spaces.Discrete(2)

    def __init__(self, limit=4):
        self.limit = limit

    def _observe(self):
        return np.eye(8, dtype=np.float32)[self.place]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.place = 0, int(self.np_random.integers(8))
        return self._observe(), {}

    def step(self, action):
        self.steps += 1
        if action == 0:
            return self._observe(), 0.1, False, self.steps >= self.limit, {}
        self.place = (self.place + 1) % 8
        return self._observe(), 2.0 * (self.place == 0), False, self.steps >= self.limit, {}


class Bandit(gym.Env):
    """Twenty arms; ten are pulled per episode. Each has reward 1 with probability 0.5, so there is nothing to learn.

    Without an entropy bonus a policy follows the noise to one of the arms.

    Args:
        fresh: an arm has reward 1, but only when it is first pulled in an episode, so that the return is the number of
            different arms that the policy pulls.
    """

    observation_space, action_space = gym.spaces.Box(0, 1, (1,), np.float32), gym.spaces.Discrete(20)

    def __init__(self, fresh=False):
        self.fresh = fresh

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.pulled = []
        return np.zeros(1, np.float32), {}

    def step(self, action):
        rew = float(action not in self.pulled) if self.fresh else float(self.np_random.random() < 0.5)
        self.pulled.append(int(action))
        return np.zeros(1, np.float32), rew, False, len(self.pulled) >= 10, {}


class Strict(gym.Env):
    """Accepts only actions of its space, and records them in `taken`."""

    observation_space = gym.spaces.Box(-1, 1, (2,))

    def __init__(self, space):
        self.action_space, self.taken = space, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(2, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action), (action, action.dtype)
        self.taken.append(action)
        return np.ones(2, np.float32), 0.0, False, False, {}


class ActionTypeReward(Strict):
    """Reward 1 for an action with the type and dtype of a sample of its space."""

    def __init__(self, space, k):
        super().__init__(space)

    def step(self, action):
        expected, (ob, _, *rest) = self.action_space.sample(), super().step(action)
        return ob, float(type(action) is type(expected) and action.dtype == expected.dtype), *rest
