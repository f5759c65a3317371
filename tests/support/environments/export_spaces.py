"""Observation and action spaces of exported policies, and observations drawn from them."""

import gymnasium as gym
import numpy as np

ROWS = 1000
TASK = gym.spaces.Dict(
    {
        "arm": gym.spaces.Tuple(
            [gym.spaces.Box(-np.inf, np.inf, (2, 2), np.float64), gym.spaces.Discrete(3, start=-1)]
        ),
        "grip": gym.spaces.MultiDiscrete([[2, 3], [2, 2]], start=[[0, 5], [0, 0]]),
        "lamp on": gym.spaces.MultiBinary(3),
        "eye": gym.spaces.Box(0, 255, (2, 2, 3), np.uint8),
    }
)
BOX = gym.spaces.Box(-np.inf, np.inf, (5,), np.float64)
BOX32 = gym.spaces.Box(-np.inf, np.inf, (2, 3), np.float32)
IMAGES = gym.spaces.Box(0, 255, (4, 36, 36), np.uint8)
TORQUES = gym.spaces.Box(np.array([-1, -0.5, -np.inf]), np.array([1, 2, 0.1]), (3,), np.float64)


def draw(space, rng):
    """ROWS observations as a `VectorEnv` returns them: floats around 1,000, exact in float32.

    Each float has its own standard deviation.
    """
    if isinstance(space, gym.spaces.Dict):
        return {key: draw(part, rng) for key, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(draw(part, rng) for part in space.spaces)
    if isinstance(space, gym.spaces.Discrete):
        return rng.integers(space.start, space.start + space.n, ROWS)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return rng.integers(space.start, space.start + space.nvec, (ROWS, *space.shape))
    if isinstance(space, gym.spaces.MultiBinary):
        return rng.integers(0, 2, (ROWS, *space.shape), np.int8)
    if space == IMAGES:  # of blocks: the means of pixels that are all independent would hardly differ
        return rng.integers(0, 256, (ROWS, 4, 6, 6), np.uint8).repeat(6, 2).repeat(6, 3)
    if space.dtype == np.uint8:
        return rng.integers(0, 256, (ROWS, *space.shape), np.uint8)
    spread = 10.0 ** rng.uniform(-1, 2, space.shape)
    return (1e3 + spread * rng.standard_normal((ROWS, *space.shape))).astype(np.float32).astype(space.dtype)
