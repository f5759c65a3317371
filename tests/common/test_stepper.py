"""Actions as environments get them: of their space's dtype, and those that the segment keeps."""
import gymnasium as gym
import numpy as np
import pytest
from small_policies import uncompiled

from common.segments import traj_segment_generator


class Strict(gym.Env):
    """Takes actions of its space alone; keeps them."""

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


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("space", [gym.spaces.Box(-1, 1, (2,), np.float32), gym.spaces.Box(-1, 1, (2,), np.float16), gym.spaces.Box(-1, 1, (2,), np.float64),
                                   gym.spaces.MultiDiscrete([3, 2], dtype=np.uint8), gym.spaces.MultiBinary(2), gym.spaces.Discrete(3, start=5)], ids=str)
def test_actions_reach_the_environment_in_the_dtype_of_their_space_and_are_those_that_are_kept(space, layers):
    env = Strict(space)
    seg = next(traj_segment_generator(uncompiled("pi", env.observation_space, space, num_hid_layers=layers), env, 8, True, seed=0))
    kept = np.clip(seg["ac"], space.low, space.high).astype(space.dtype) if isinstance(space, gym.spaces.Box) else seg["ac"]
    np.testing.assert_array_equal(env.taken, kept)


class Own(gym.Space):
    """A space of a user's own, which says no dtype."""

    def contains(self, x):
        return x.dtype == np.int32

    def sample(self, mask=None, probability=None):
        return np.int32(0)


def test_a_space_without_a_dtype_gets_actions_as_they_are_drawn():
    env = Strict(Own())
    seg = next(traj_segment_generator(uncompiled("pi", env.observation_space, gym.spaces.Discrete(3)), env, 8, True, seed=0))
    np.testing.assert_array_equal(env.taken, seg["ac"])
