"""Masks, a memory and `learn` by names on two ranks: all ranks are equal. `variant_checks.py` runs the trainings."""

import json
from pathlib import Path

import jobs
import numpy as np
import pytest
from tolerance import LIBM, change_error

# Of up to 32 samples through four layers. With a memory, also of a sequence of 8 steps, forwards and backwards. A step multiplies by 8
# inputs and states at most, and has two nonlinearities behind each other. Each is as exact as `LIBM` ulps, or twice as many roundings.
ROUNDINGS = {"masks": 300} | dict.fromkeys(("lstm", "gru"), 300 + 2 * 8 * (8 + 2 * 2 * LIBM))


@pytest.fixture(scope="module")
def results(tmp_path_factory, worker_id):
    return jobs.results_of_ranks(tmp_path_factory, worker_id, 2, Path(__file__).with_name("variant_checks.py"))


@pytest.mark.parametrize("name", ROUNDINGS)
def test_two_ranks_stay_equal_and_both_kinds_of_averaging_give_the_same_update(results, name):
    for found in results[name].values():
        assert all(len(set(row)) == 1 for row in found["digests"])
        assert len({row[0] for row in found["digests"]}) == 4  # each iteration changes the parameters
    gathered, averaged, before = (
        np.array(results[name][kind][key])
        for kind, key in (("gather", "parameters"), ("average", "parameters"), ("gather", "before"))
    )
    change = np.linalg.norm(gathered - before)
    limit = change_error(ROUNDINGS[name], steps=24, size=np.linalg.norm(before), change=change)
    assert np.linalg.norm(gathered - averaged) < limit * change and limit < 0.01


def test_weights_of_a_training_by_names_are_equal(results):
    ranks = results["names"]
    assert len(ranks) == 2 and ranks[0]["weights"] == ranks[1]["weights"]


def test_learning_curves_are_equal_but_for_the_time(results):
    ranks = results["names"]
    rows = [[{name: x for name, x in row.items() if name != "TimeElapsed"} for row in one["rows"]] for one in ranks]
    assert [row["TimestepsSoFar"] for row in rows[0]] == [2 * 64, 2 * 2 * 64]
    assert all("TimeElapsed" in row for one in ranks for row in one["rows"])
    assert json.dumps(rows[0], sort_keys=True) == json.dumps(rows[1], sort_keys=True)  # NaN is equal to NaN
