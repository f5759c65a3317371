"""Behaviour cloning with mixed observations, mixed actions and action masks."""

import logging

import gymnasium as gym
import numpy as np
import pytest

from baselines_ppo import Demonstrations, MlpPolicy, UserError
from baselines_ppo.cloning.actions import stored_actions
from baselines_ppo.cloning.behaviour_cloning import CloningSettings, clone
from baselines_ppo.networks.mixed_policy import MixedPolicy
from common.envs.mask_layout import ACTION_MASK, OBSERVATION, masked_space
from common.vec_env.actions import ActionStructure

N = 2000
SETTINGS = CloningSettings(epochs=40, stepsize=0.02, gamma=0.0, bootstrap_time_limits=True, fits_value=True, seed=0)
OBS = gym.spaces.Dict({"place": gym.spaces.Box(-9, 9, (2,), np.float32), "goal": gym.spaces.Discrete(3, start=1)})
ACTIONS = gym.spaces.Dict(
    {
        "wait": gym.spaces.Discrete(2, start=-1),
        "force": gym.spaces.Tuple([gym.spaces.Box(-5, 5, (2,), np.float32), gym.spaces.MultiBinary(2)]),
        "level": gym.spaces.Box(3, 5, (1,), np.int16),
    }
)
CHOICES = gym.spaces.MultiDiscrete([2, 3], start=[0, 4])
pytestmark = pytest.mark.usefixtures("uncompiled_here")


@pytest.fixture(scope="module")
def observations():
    rng = np.random.default_rng(0)
    return {"place": rng.normal(0, 1, (N, 2)).astype(np.float32), "goal": rng.integers(1, 4, N)}


def rule(obs):
    """Actions that depend linearly on the place, and on the goal."""
    place, goal = obs["place"], obs["goal"]
    return {
        "wait": np.where(place[:, 0] > 0, 0, -1),
        "force": (
            (place * [0.5, -1] + (goal == 2)[:, None]).astype(np.float32),
            np.stack([goal == 1, place[:, 1] > 0], axis=1).astype(np.int8),
        ),
        "level": (2 + goal)[:, None].astype(np.int16),
    }


def test_stored_actions_are_the_inverse_of_what_environments_get(observations):
    actions, structure = rule(observations), ActionStructure(ACTIONS)
    stored = structure.stored(actions)
    assert stored.shape == (N, 6) and stored.dtype == np.float64
    # a Dict is in the order of its sorted keys: force, level, wait
    np.testing.assert_array_equal(stored[:, :2], actions["force"][0])
    np.testing.assert_array_equal(stored[:, 2:4], actions["force"][1])
    np.testing.assert_array_equal(stored[:, 4:], np.stack([actions["level"][:, 0], actions["wait"]], axis=1))
    again = structure.batch(stored)
    for name, found in (("wait", again["wait"]), ("level", again["level"])):
        np.testing.assert_array_equal(found, actions[name])
    for found, part in zip(again["force"], actions["force"]):
        np.testing.assert_array_equal(found, part)
        assert found.dtype == part.dtype
    ACTIONS.seed(0)
    action = ACTIONS.sample()
    np.testing.assert_array_equal(structure.stored(structure.batch(structure.stored(action))), structure.stored(action))


@pytest.mark.parametrize("policy", [MlpPolicy, MixedPolicy])
def test_mixed_actions_are_learned_from_mixed_observations(policy, observations, caplog):
    caplog.set_level(logging.INFO, "baselines_ppo.cloning")
    pi, actions = policy("pi", OBS, ACTIONS, hidden=[], init_logstd=-1.5), rule(observations)
    data = Demonstrations(observations, actions)
    clone(pi, data, SETTINGS)
    found = pi.predict(observations, deterministic=True)
    np.testing.assert_allclose(found["force"][0], actions["force"][0], rtol=0, atol=0.02)
    assert (found["level"] == actions["level"]).all()
    for one, other in ((found["wait"], actions["wait"]), (found["force"][1], actions["force"][1])):
        assert (one == other).mean() > 0.98
    np.testing.assert_array_equal(pi.weights["pol/logstd"].numpy(), np.float32([-1.5, -1.5]))
    line = next(text for text in caplog.messages if "policy:" in text)
    assert "root mean square error" in line and "accuracy" in line
    rms = pi.normalised_part(pi.encoder.single_or_batch(observations)[0])
    np.testing.assert_allclose(pi.ob_rms.mean, rms.mean(axis=0, dtype=np.float64), rtol=1e-6, atol=1e-7)
    assert stored_actions(pi, data).dtype == np.float64


def masked_data(observations, forbid=None):
    """Actions whose second choice is the goal's; the best valid one is taken."""
    rng = np.random.default_rng(1)
    masks = rng.integers(0, 2, (N, 5)).astype(np.int8)
    first = np.where(observations["place"][:, 0] > 0, 1, 0)
    second = observations["goal"] - 1
    masks[np.arange(N), first] = masks[np.arange(N), 2 + second] = 1
    if forbid is not None:
        masks[forbid, 2 + second[forbid]] = 0
    return Demonstrations({OBSERVATION: observations, ACTION_MASK: masks}, np.stack([first, 4 + second], axis=1)), masks


@pytest.mark.parametrize("policy", [MlpPolicy, MixedPolicy])
def test_masked_policies_are_cloned_with_the_masks(policy, observations):
    data, masks = masked_data(observations)
    pi = policy("pi", masked_space(OBS, CHOICES), CHOICES, hidden=[])
    clone(pi, data, SETTINGS)
    found = pi.predict(observations, deterministic=True, action_masks=masks)
    assert (found == data.entries["actions"]).all(axis=1).mean() > 0.98


def test_an_action_that_its_mask_forbids_is_one_line_with_its_index(observations):
    data, _ = masked_data(observations, forbid=[1234, 1500])
    pi = MlpPolicy("pi", masked_space(OBS, CHOICES), CHOICES)
    before = pi.state()
    with pytest.raises(UserError, match=r"^demonstrations: the action mask forbids the action of step 1,234, \[") as e:
        clone(pi, data, SETTINGS)
    assert "\n" not in str(e.value)
    assert all(np.array_equal(x, before[name]) for name, x in pi.state().items())


def test_a_forbidden_part_of_a_mixed_action_is_found(observations):
    actions = rule(observations)
    masks = np.ones((N, 4 + 3 + 2), np.int8)  # two bits, three levels, two choices
    data = Demonstrations({OBSERVATION: observations, ACTION_MASK: masks}, actions)
    pi = MlpPolicy("pi", masked_space(OBS, ACTIONS), ACTIONS, hidden=[])
    clone(pi, data, CloningSettings(**vars(SETTINGS) | {"epochs": 1}))
    for entry, wrong in (
        (1, actions["force"][1][7, 0] == 1),
        (4 + actions["level"][7, 0] - 3, True),
        (7 + actions["wait"][7] + 1, True),
    ):
        masks[7, entry] = 0
        data = Demonstrations({OBSERVATION: observations, ACTION_MASK: masks.copy()}, actions)
        masks[7, entry] = 1
        if wrong:
            with pytest.raises(UserError, match="forbids the action of step 7, "):
                clone(pi, data, SETTINGS)
