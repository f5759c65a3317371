"""A small game with images, which only a policy that sees can solve."""

import gymnasium as gym
import numpy as np

# settings of `learn` with which a small CnnPolicy learns to catch, in eight environments
TRAINING = {
    "timesteps_per_actorbatch": 512,
    "optim_batchsize": 128,
    "optim_epochs": 4,
    "optim_stepsize": 1e-3,
    "entcoeff": 0.01,
    "vf_coef": 0.5,
    "max_grad_norm": 0.5,
    "gamma": 0.95,
    "schedule": "linear",
    "max_timesteps": 8192,
}


def images(*shape):
    return gym.spaces.Box(0, 255, shape, np.uint8)


def random_images(space, count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *space.shape), dtype=np.uint8)


class Catch(gym.Env):
    """A block falls through five columns in four steps. The paddle moves left, stays or moves right; a catch has reward
    1.

    The initial columns of block and paddle are uniform, and only the image shows them. A policy that ignores the image
    catches the block with probability 1/5.
    """

    action_space = gym.spaces.Discrete(3)
    observation_space = images(84, 84, 1)
    columns, size = 5, 16

    def draw(self, block, row, paddle):
        image, size = np.zeros((84, 84), np.uint8), self.size
        image[row * size : (row + 1) * size, block * size : (block + 1) * size] = 255
        image[78:, paddle * size : (paddle + 1) * size] = 255
        return image[..., None]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.row, (self.block, self.paddle) = 0, self.np_random.integers(self.columns, size=2).tolist()
        return self.draw(self.block, self.row, self.paddle), {}

    def step(self, action):
        self.row += 1
        self.paddle = min(max(self.paddle + int(action) - 1, 0), self.columns - 1)
        landed = self.row == self.columns - 1
        return (
            self.draw(self.block, self.row, self.paddle),
            float(landed and self.block == self.paddle),
            landed,
            False,
            {},
        )


def catch_rate(pi, env):
    """Return the share of the 25 initial states in which the most likely actions catch the block.

    Nothing else is random.
    """
    block, paddle = (x.ravel() for x in np.meshgrid(range(env.columns), range(env.columns)))
    for row in range(env.columns - 1):
        action, _ = pi.act(False, np.stack([env.draw(b, row, p) for b, p in zip(block, paddle)]))
        paddle = np.clip(paddle + action - 1, 0, env.columns - 1)
    return (block == paddle).mean()
