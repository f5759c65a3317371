"""Copies of policies and of their parts, by `copy` and by `pickle`."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from sample_env import BOX, TINY, TWO, LinearPolicy, SampleEnv, assert_same_state, small_mlp

from baselines_ppo import CnnPolicy, learn

pytestmark = pytest.mark.usefixtures("uncompiled_here")

COPY_FUNCTIONS = {"deepcopy": copy.deepcopy, "copy": copy.copy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


@pytest.fixture(scope="module")
def acted_policy():
    """A trained policy that has acted; its observation filter has a communicator."""
    pi = learn(SampleEnv(), small_mlp, **TINY)
    pi.act(True, np.float32([0.1, -0.2]))
    return pi


@pytest.mark.parametrize("how", COPY_FUNCTIONS)
def test_a_copy_of_a_policy_is_independent(how, acted_policy):
    pi, ob = acted_policy, np.float32([0.1, -0.2])
    found, before = COPY_FUNCTIONS[how](pi), pi.state()
    assert_same_state(found, pi)
    np.testing.assert_array_equal(found.pd(ob).flatparam(), pi.pd(ob).flatparam())
    found.initialise(np.random.default_rng(7))
    found.ob_rms.update(np.ones((3, 2)))
    assert found.act(False, ob)[1] != pi.act(False, ob)[1] and found.ob_rms.count == pi.ob_rms.count + 3
    for name, x in before.items():
        np.testing.assert_array_equal(pi.state()[name], x)


@pytest.mark.parametrize("how", COPY_FUNCTIONS)
def test_parts_of_a_policy_can_be_copied(how):
    image = gym.spaces.Box(0, 255, (20, 20, 1), np.uint8)
    cnn, linear = CnnPolicy("pi", image, TWO, kind="small"), LinearPolicy("pi", BOX, TWO, extra=[1])
    for pi, ob in ((cnn, image.sample()), (linear, BOX.sample())):
        value = pi.act(False, ob)[1]
        assert (
            COPY_FUNCTIONS[how](pi).act(False, ob)[1] == value
            and COPY_FUNCTIONS[how](pi.get_variables()).policy.act(False, ob)[1] == value
        )
    for space in (BOX, TWO, gym.spaces.MultiDiscrete([3, 2]), gym.spaces.MultiBinary(3)):
        pd = small_mlp("pi", BOX, space).pd(BOX.sample())
        np.testing.assert_array_equal(COPY_FUNCTIONS[how](pd).entropy(), pd.entropy())
        assert COPY_FUNCTIONS[how](pd.pdtype).param_shape() == pd.pdtype.param_shape()
