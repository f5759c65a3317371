"""Behaviour cloning against least squares and hand calculation: policy, value function, return scale, early stop."""

import copy
import logging

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from small_policies import Linear

from baselines_ppo import Demonstrations, MlpPolicy, UserError
from baselines_ppo.cloning import fitting
from baselines_ppo.cloning.behaviour_cloning import CloningSettings, choose_validation_steps, clone
from baselines_ppo.cloning.returns import discounted_returns, scaled_rewards
from common.distributed.communicator import Communicator
from common.rollouts.return_scaling import RewardNormalizer

OB = gym.spaces.Box(-np.inf, np.inf, (3,), np.float64)
MEAN = (1, -2, 30)
BOX = gym.spaces.Box(-100, 100, (2,), np.float32)
SETTINGS = {"epochs": 40, "stepsize": 1e-2, "gamma": 0.0, "bootstrap_time_limits": True, "fits_value": True, "seed": 0}
pytestmark = pytest.mark.usefixtures("uncompiled_here")


def linear_policy(ac_space, **settings):
    """A policy and a value function that are linear in the normalised observations, with random weights."""
    pi = MlpPolicy("pi", OB, ac_space, num_hid_layers=0, ob_clip=100, **settings)
    pi.initialise(np.random.default_rng(1))
    return pi


@pytest.fixture(scope="module")
def observations():
    return np.random.default_rng(0).normal(MEAN, [1, 3, 0.5], (2000, 3))


def features(x):
    """Return the observations around their mean, and a constant."""
    return np.concatenate([x - MEAN, np.ones((len(x), 1))], axis=1)


def mean_actions(pi, x):
    return pi.act(False, x)[0]


# ---- policy


def test_a_linear_rule_is_recovered(observations):
    weights = np.array([[0.5, -1], [0.3, 0.2], [0, 0.4], [1, 2]])
    actions = features(observations) @ weights
    pi = linear_policy(BOX)
    clone(pi, Demonstrations(observations, actions), CloningSettings(**SETTINGS))
    np.testing.assert_allclose(mean_actions(pi, observations), actions, rtol=0, atol=2e-3)
    other = observations[::-1] * 1.1
    np.testing.assert_allclose(mean_actions(pi, other), features(other) @ weights, rtol=0, atol=0.01)


def test_noisy_actions_are_fitted_as_by_least_squares_and_the_standard_deviation_stays(observations):
    rng = np.random.default_rng(2)
    actions = features(observations) @ rng.normal(size=(4, 2)) * 0.3 + rng.normal(0, 0.5, (2000, 2))
    data = Demonstrations(observations, actions)
    optimum = features(observations) @ np.linalg.lstsq(features(observations), actions, rcond=None)[0]
    pi = linear_policy(BOX, init_logstd=-1.5)
    clone(pi, data, CloningSettings(**SETTINGS))
    # standard error of the least-squares fit itself: 0.5 sqrt(4 / 1800) = 0.024; Adam's noise is smaller
    assert np.sqrt(np.square(mean_actions(pi, observations) - optimum).mean()) < 0.03
    np.testing.assert_array_equal(pi.weights["pol/logstd"].numpy(), np.float32([-1.5, -1.5]))


def test_a_standard_deviation_that_depends_on_the_observation_gets_no_gradient(observations):
    pi = linear_policy(BOX, gaussian_fixed_var=False, init_logstd=-0.5)
    before = pi.weights["pol/final/w"].numpy()
    clone(pi, Demonstrations(observations, np.zeros((2000, 2))), CloningSettings(**SETTINGS | {"epochs": 2}))
    after = pi.weights["pol/final/w"].numpy()
    np.testing.assert_array_equal(after[:, 2:], before[:, 2:])
    assert (after[:, :2] != before[:, :2]).all()


@pytest.mark.parametrize(
    "space, choose",
    [
        (gym.spaces.Discrete(3, start=2), lambda x: 2 + (x[:, 0] > 1) + (x[:, 0] > 1.5)),
        (
            gym.spaces.MultiDiscrete([2, 2]),
            lambda x: np.stack([x[:, 0] > 1, x[:, 1] < -2], axis=1).astype(int),
        ),
        (gym.spaces.MultiBinary(2), lambda x: np.stack([x[:, 0] > 1, x[:, 1] < -2], axis=1).astype(int)),
    ],
    ids=["Discrete", "MultiDiscrete", "MultiBinary"],
)
def test_separable_choices_are_learned(space, choose, observations, caplog):
    actions = choose(observations)
    pi = linear_policy(space)
    caplog.set_level(logging.INFO, "baselines_ppo.cloning")
    clone(pi, Demonstrations(observations, actions), CloningSettings(**SETTINGS | {"stepsize": 0.05}))
    right = (mean_actions(pi, observations) == actions).reshape(2000, -1).all(axis=1).mean()
    assert right > 0.95
    line = next(text for text in caplog.messages if "policy:" in text)
    assert float(line.rsplit("accuracy ", 1)[1].split()[2]) == pytest.approx(right, abs=0.03)


def test_the_observation_filter_has_the_moments_of_the_data(observations):
    pi = linear_policy(BOX)
    clone(pi, Demonstrations(observations, np.zeros((2000, 2))), CloningSettings(**SETTINGS | {"epochs": 1}))
    np.testing.assert_allclose(pi.ob_rms.mean, observations.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(pi.ob_rms.var, observations.var(axis=0), rtol=1e-10)
    assert pi.ob_rms.count == 2000


def test_the_same_seed_gives_the_same_bits(observations):
    data = Demonstrations(observations, np.sin(observations[:, :2]))
    states = []
    for seed in (0, 0, 1):
        pi = linear_policy(BOX)
        clone(pi, data, CloningSettings(**SETTINGS | {"epochs": 2, "seed": seed}))
        states.append(b"".join(x.tobytes() for x in pi.state().values()))
    assert states[0] == states[1] != states[2]


def test_a_policy_with_a_memory_is_refused(observations):
    pi = linear_policy(BOX, memory="gru", memory_size=2)
    with pytest.raises(UserError, match="MlpPolicy has a memory, and demonstrations train on single steps"):
        clone(pi, Demonstrations(observations, np.zeros((2000, 2))), CloningSettings(**SETTINGS))


def test_a_step_size_that_diverges_is_one_line(observations):
    with pytest.raises(UserError, match="^file.npz: .*; set a smaller demonstration_stepsize$"):
        data = Demonstrations(observations, np.zeros((2000, 2)), source="file.npz")
        clone(linear_policy(BOX), data, CloningSettings(**SETTINGS | {"stepsize": 1e38}))


# ---- value function and returns


def with_rewards(rewards, terminations, truncations):
    x = np.zeros((len(rewards), 3))
    return Demonstrations(x, np.zeros(len(x)), np.array(rewards), np.array(terminations), np.array(truncations))


def test_returns_end_at_terminations_and_continue_at_time_limits():
    data = with_rewards([1, 2, 3, 4], [0, 1, 0, 0], [0, 0, 0, 1])
    # mean reward 2.5; one step of four terminates: v = 2.5 + 0.5 * 3/4 v = 4
    assert discounted_returns(data, data.entries["rewards"], 0.5, True).tolist() == [2, 2, 3 + 0.5 * 6, 4 + 0.5 * 4]
    assert discounted_returns(data, data.entries["rewards"], 0.5, False).tolist() == [2, 2, 5, 4]


def test_data_that_end_inside_an_episode_continue():
    data = with_rewards([1, 2, 3, 4], [0, 1, 0, 0], [0, 0, 0, 0])
    for bootstrap in (True, False):
        assert discounted_returns(data, data.entries["rewards"], 0.5, bootstrap).tolist() == [2, 2, 6, 6]


def test_constant_rewards_without_an_end_have_the_value_of_the_infinite_sum():
    data = with_rewards([1.0] * 7, [0] * 7, [0, 0, 1, 0, 0, 0, 1])
    np.testing.assert_allclose(discounted_returns(data, data.entries["rewards"], 0.9, True), 10, rtol=1e-6)
    assert discounted_returns(data, data.entries["rewards"], 1.0, True).tolist() == [3, 2, 1, 4, 3, 2, 1]


def test_returns_are_scaled_by_statistics_that_the_training_keeps():
    data = with_rewards([1, 2, 3, 4], [0, 1, 0, 0], [0, 0, 0, 1])
    normalizer = RewardNormalizer(5, 0.5, Communicator(None))
    scaled = scaled_rewards(data, normalizer)
    forward = [1, 2.5, 3, 5.5]  # R_t = r_t + 0.5 R_{t-1} within an episode
    np.testing.assert_allclose(scaled, np.array([1, 2, 3, 4]) / np.std(forward), rtol=1e-12)
    assert normalizer.rms.count == 4 and normalizer.rms.std == pytest.approx(np.std(forward))
    assert data.entries["rewards"].tolist() == [1, 2, 3, 4] and normalizer.running_returns.tolist() == [0] * 5


def test_the_value_function_is_fitted_to_the_returns(observations, caplog):
    rewards = features(observations) @ [1, -0.5, 2, 2]  # with gamma 0 the return is the reward
    ends = np.arange(2000) % 100 == 99
    data = Demonstrations(observations, np.zeros((2000, 2)), rewards, ends, np.zeros(2000, bool))
    caplog.set_level(logging.INFO, "baselines_ppo.cloning")
    pi = linear_policy(BOX)
    clone(pi, data, CloningSettings(**SETTINGS | {"stepsize": 0.1}))
    np.testing.assert_allclose(pi.vpred(observations), rewards, rtol=0, atol=0.05)
    assert "value function" in caplog.messages[-1] and caplog.messages[-1].endswith(" before, 1 after")


def test_the_value_function_is_left_alone_without_returns_or_without_use(observations, caplog):
    caplog.set_level(logging.INFO, "baselines_ppo.cloning")
    ends = np.arange(2000) % 100 == 99
    known = Demonstrations(observations, np.zeros((2000, 2)), np.ones(2000), ends, ends)
    unknown = Demonstrations(observations, np.zeros((2000, 2)))
    for data, changed, line in (
        (unknown, {}, "no rewards and ends"),
        (known, {"fits_value": False}, "no value function"),
    ):
        pi = linear_policy(BOX)
        before = pi.weights["vf/final/w"].numpy()
        clone(pi, data, CloningSettings(**SETTINGS | {"epochs": 1} | changed))
        np.testing.assert_array_equal(pi.weights["vf/final/w"].numpy(), before)
        assert line in caplog.messages[-1]


def test_a_policy_that_shares_all_variables_with_its_value_is_cloned(observations, caplog):
    caplog.set_level(logging.INFO, "baselines_ppo.cloning")
    ends = np.arange(2000) % 100 == 99
    actions = (observations[:, 0] > 1).astype(int)
    pi = Linear("pi", OB, gym.spaces.Discrete(2))
    data = Demonstrations(observations, actions, np.ones(2000), ends, ends)
    clone(pi, data, CloningSettings(**SETTINGS | {"epochs": 20}))
    assert "shares all its variables with the policy" in caplog.messages[-1]
    assert (pi.w.numpy()[:, :2] != 0).all() and (pi.w.numpy()[:, 2] == 0).all()


# ---- validation and early stop


def test_validation_steps_are_a_tenth_and_whole_episodes():
    ends = np.arange(1000) % 50 == 49
    x = np.zeros((1000, 3))
    data = Demonstrations(x, np.zeros(1000), np.zeros(1000), ends, ~ends & False)
    chosen = choose_validation_steps(data, np.random.default_rng(0)).reshape(20, 50)
    assert chosen.all(axis=1).sum() == 2 and chosen.any(axis=1).sum() == 2
    single = choose_validation_steps(with_rewards([0.0] * 40, [0] * 40, [0] * 40), np.random.default_rng(0))
    assert single.sum() == 4  # steps of the only episode
    assert choose_validation_steps(Demonstrations(x[:2], np.zeros(2)), np.random.default_rng(0)).sum() == 1


def test_three_epochs_without_a_better_score_end_the_fit_and_the_best_variables_are_kept():
    variable = tf.Variable([0.0])

    class Counting:
        def run_minibatches(self, *args):
            variable.assign_add([1.0])

    settings = CloningSettings(**SETTINGS | {"epochs": 10})
    scores = [5, 3, 4, 2, 2, 3, 2.5, 0, 0, 0, 0]
    used = np.ones(8, bool)
    fit = [Counting(), [variable], {}, used, 4, np.random.default_rng(0)]
    epochs = fitting.fit(*fit, settings, lambda: scores[int(variable.numpy()[0])], lambda: None)
    assert epochs == 6 and variable.numpy() == [3]
    variable.assign([0.0])
    scores[:] = range(20)  # worse from the first epoch on
    assert fitting.fit(*fit, copy.copy(settings), lambda: scores[int(variable.numpy()[0])], lambda: None) == 3
    assert variable.numpy() == [0]
    assert (
        fitting.fit(*fit, settings, None, lambda: None) == 10
    )  # without a score it runs all epochs and keeps the last
    assert variable.numpy() == [10]
