"""The simulated power of comparisons between sets of settings."""

import numpy as np
import pytest

from benchmarks.analysis import power


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(power, "REPETITIONS", 400)


def test_a_loss_far_above_the_noise_is_always_found_and_one_below_it_never(short):
    scores = {"a": np.array([0.99, 1.01]), "b": np.array([0.98, 1.0, 1.02])}
    rng = np.random.default_rng(0)
    assert power.found(scores, 8, 0.5, rng) == 1
    # a gain: the difference has the other sign
    assert power.found(scores, 8, -0.5, rng) == 0


def test_false_alarms_are_about_those_of_two_standard_errors(short):
    scores = {"a": np.random.default_rng(1).normal(1, 0.2, 1000)}
    # Student's t with 31 degrees of freedom is below -2 in 2.7 % of cases; 400 cases have a standard error of 0.8 %
    assert 0 < power.found(scores, 32, 0.0, np.random.default_rng(2)) < 0.06


def test_standard_error_of_the_mean_is_that_of_theory(short):
    scores = np.array([0.0, 1.0])  # standard deviation 1/2, so 1/8 for the mean of 16
    mean, lowest_quarter = power.standard_error(scores, 16, np.random.default_rng(3))
    # the standard error of a standard deviation of 400 samples is 1 / sqrt(800) of it: four of them
    assert mean == pytest.approx(1 / 8, rel=4 / np.sqrt(800))
    # the lowest four are all 0 unless fewer than four of sixteen are, in 1.1 % of samples: a standard error of about 0.03
    assert lowest_quarter < 0.1


def test_measured_scores_are_those_of_the_sixteen_reported_seeds():
    scores = power.measured_scores(power.TASKS)
    assert {task: len(x) for task, x in scores.items()} == dict.fromkeys(power.TASKS, 16)
