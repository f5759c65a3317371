"""The comparison of an export with the policy: which differences it finds, and which it takes for rounding."""

import gymnasium as gym
import numpy as np
import pytest

from baselines_ppo import MlpPolicy
from baselines_ppo.export.verification import example_inputs, largest_difference
from common.envs.mask_layout import masked_space

NUMBERS = np.array([[1.0, -3.0], [0.0, 2.0]], np.float32)
CHOICES = np.zeros(1000, np.int64)


def test_numbers_are_compared_relative_to_the_largest():
    assert largest_difference(NUMBERS, NUMBERS) == 0
    assert largest_difference(NUMBERS + np.float32(0.5), NUMBERS) == 0.5 / (1 + 3)


@pytest.mark.parametrize("found", [np.float64(NUMBERS), NUMBERS[:1], np.where(NUMBERS == 0, np.nan, NUMBERS)])
def test_another_dtype_or_shape_and_a_number_that_is_not_finite_differ(found):
    assert largest_difference(found, NUMBERS) == np.inf


def test_a_few_choices_may_differ():
    assert largest_difference((np.arange(1000) < 10).astype(np.int64), CHOICES) == 0
    assert largest_difference((np.arange(1000) < 11).astype(np.int64), CHOICES) == np.inf


def test_inputs_are_of_the_space_and_do_not_change_its_generator():
    space = gym.spaces.Dict(place=gym.spaces.Box(-1, 1, (3,)), item=gym.spaces.Discrete(4, start=2))
    actions = gym.spaces.Discrete(5)
    pi = MlpPolicy("pi", masked_space(space, actions), actions, hid_size=4, memory="gru", memory_size=6)
    pi.network_space.seed(3)
    inputs = example_inputs(pi, 20, np.random.default_rng(0), with_noise=True)
    after = pi.network_space.sample()
    pi.network_space.seed(3)
    assert (
        gym.spaces.utils.flatten(space, after).tolist()
        == gym.spaces.utils.flatten(space, pi.network_space.sample()).tolist()
    )
    assert {name: x.shape for name, x in inputs.items()} == {
        "observation_place": (20, 3),
        "observation_item": (20,),
        "action_mask": (20, 5),
        "state": (20, 6),
        "episode_start": (20,),
        "noise": (20, 5),
    }
    assert len(np.unique(inputs["observation_item"])) == 4 and inputs["observation_item"].min() == 2
    assert 0 < inputs["episode_start"].sum() < 20
