"""A corridor with action masks in every convention, which raises an error for an invalid action."""

import gymnasium as gym
import numpy as np


class Corridor(gym.Env):
    """Walk from 0 to `goal`; action 0 steps back, 1 steps forward, and the other actions are never valid.

    The observation is the place. At 0 only action 1 is valid. The episode terminates at the goal, where no action is
    left, and is truncated after `limit` steps.

    Args:
        masks: 'method', 'info', 'observation', 'box' (in a Box, as in PettingZoo) or None.
        goal, limit, num_actions: of the corridor; the goal is at most 9.
    """

    def __init__(self, masks="info", goal=4, limit=50, num_actions=5):
        self.masks, self.goal, self.limit = masks, goal, limit
        self.action_space = gym.spaces.Discrete(num_actions)
        self.observation_space = place = gym.spaces.Box(0, 9, (1,), np.float32)
        if masks in ("observation", "box"):
            one = (
                gym.spaces.MultiBinary(num_actions)
                if masks == "observation"
                else gym.spaces.Box(0, 1, (num_actions,), np.int8)
            )
            self.observation_space = gym.spaces.Dict({"observation": place, "action_mask": one})
        if masks == "method":
            self.action_masks = lambda: self.valid().astype(bool).tolist()
        self.resets = 0

    def valid(self):
        mask = np.zeros(self.action_space.n, np.int8)
        mask[:2] = [0 < self.place < self.goal, self.place < self.goal]
        return mask

    def _result(self):
        ob = np.float32([self.place])
        if self.masks in ("observation", "box"):
            ob = {"observation": ob, "action_mask": self.valid()}
        return ob, {"action_mask": self.valid()} if self.masks == "info" else {}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.steps, self.resets = 0, 0, self.resets + 1
        return self._result()

    def step(self, action):
        if not self.valid()[action]:
            raise ValueError(f"invalid action {action} at {self.place}")
        self.place += 1 if action else -1
        self.steps += 1
        ob, info = self._result()
        return ob, float(self.place == self.goal), self.place == self.goal, self.steps >= self.limit, info


gym.register("MaskedCorridor-v0", entry_point=Corridor, kwargs={"goal": 2}, max_episode_steps=20)
