"""Random streams are a function of their path, and no two coincide."""

import itertools

import numpy as np
import pytest

from common import seeding

PURPOSES = (seeding.INITIALISE, seeding.ACTIONS, seeding.MINIBATCHES, seeding.ENVIRONMENTS, seeding.EVALUATION)


def test_purposes_are_different_numbers():
    assert len(set(PURPOSES)) == len(PURPOSES)


def test_streams_of_every_seed_purpose_rank_and_iteration_are_distinct():
    paths = list(itertools.product((0, 1, 2**31, 2**32, 2**64 + 1), PURPOSES, (0, 1, 7), (0, 1, 2, 1000)))
    first = {
        seeding.generator(seed, purpose, rank, iteration).integers(2**63) for seed, purpose, rank, iteration in paths
    }
    assert len(first) == len(paths)  # 300 draws of 63 bits coincide once in 2e14


def test_a_path_and_its_beginning_are_distinct():
    draws = [seeding.generator(3, seeding.ACTIONS, *path).integers(2**63) for path in ((), (0,), (0, 0), (0, 0, 0))]
    assert len(set(draws)) == 4


def test_streams_are_uncorrelated():
    x = np.stack([seeding.generator(0, seeding.ACTIONS, rank, 0).standard_normal(20_000) for rank in range(6)])
    assert np.abs(np.corrcoef(x) - np.eye(6)).max() < 5 / np.sqrt(20_000)  # 5 standard errors


@pytest.mark.parametrize("seed", [0, 5, 2**40])
def test_the_same_path_gives_the_same_stream(seed):
    first, second = (seeding.generator(seed, seeding.ACTIONS, 1, 2).standard_normal(10) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_environment_seeds_are_valid_and_differ_by_rank_env_and_epoch():
    seeds = [seed for rank in range(4) for epoch in range(4) for seed in seeding.environment_seeds(1, rank, 4, epoch)]
    assert all(type(seed) is int and 0 <= seed < 2**31 for seed in seeds)
    # for this seed; two of 64 random seeds coincide with a probability of one in a million
    assert len(set(seeds)) == 64


def test_an_environments_seed_does_not_depend_on_the_number_of_environments():
    assert seeding.environment_seeds(1, 0, 2, 5) == seeding.environment_seeds(1, 0, 8, 5)[:2]
