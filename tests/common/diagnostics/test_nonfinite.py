"""The first non-finite number of a segment, a minibatch or a set of arrays is found, with its likely cause."""

import numpy as np
import pytest

from common.diagnostics.nonfinite import explain_nonfinite, first_nonfinite_array, first_nonfinite_step, is_finite
from common.hints import SCALE_REWARDS


def test_the_first_nonfinite_number_in_time_is_reported():
    ob, ac, rew = np.zeros((5, 2, 3)), np.zeros((5, 2, 1)), np.zeros((5, 2))
    assert first_nonfinite_step(ob, ac, rew) is None
    ac[2, 1] = np.nan
    assert first_nonfinite_step(ob, ac, rew) is None  # no environment failed: left to the loss check
    assert first_nonfinite_step(ob, ac, rew, failed=True)[:3] == ("action", 2, 1)
    rew[2, 1] = np.nan
    assert first_nonfinite_step(ob, ac, rew)[:3] == ("action", 2, 1)
    ob[2, 1] = np.nan  # the observation from which the action was computed
    assert first_nonfinite_step(ob, ac, rew)[:3] == ("observation", 1, 1)
    ob[0, 0] = np.inf
    assert first_nonfinite_step(ob, ac, rew)[:3] == ("observation", -1, 0)


def test_observations_after_the_last_step_and_of_ended_episodes_count():
    ob, ac, rew = np.zeros((3, 2, 1)), np.zeros((3, 2, 1)), np.zeros((3, 2))
    last_ob = np.array([[0.0], [np.inf]])
    assert first_nonfinite_step(ob, ac, rew, last_ob) == ("observation", 2, 1, np.inf)
    assert first_nonfinite_step(ob, ac, rew, last_ob, [(1, 0, np.array([np.nan]))])[:3] == ("observation", 1, 0)


def test_the_first_array_that_is_not_finite_is_named():
    arrays = {"count": np.arange(3), "w": np.zeros(2), "b": np.float32([1, -np.inf])}
    assert first_nonfinite_array(arrays, "pi") == "pi/b is -inf"
    assert first_nonfinite_array({"w": np.zeros(2)}, "pi") is None
    assert is_finite(np.array(["text"]))


@pytest.mark.parametrize(
    "rows, largest_parameter, cause, hint",
    [
        ({"x": [np.nan], "ret": [np.nan]}, 1.0, "where a prepared observation is nan", "scale the observations"),
        ({"ret": [np.inf]}, 1.0, "where a value target is inf", SCALE_REWARDS),
        ({"ret": [1e7]}, 1.0, "with value targets up to 1e+07 and parameters up to 1", SCALE_REWARDS),
        ({"ret": [1.0]}, 1e7, "with value targets up to 1 and parameters up to 1e+07", "take a smaller step size"),
        ({}, 1.0, "with value targets up to 0 and parameters up to 1", "or check the rewards"),
    ],
)
def test_the_cause_is_the_first_input_that_is_not_finite_or_the_largest_number(rows, largest_parameter, cause, hint):
    found = explain_nonfinite({name: np.float32(x) for name, x in rows.items()}, largest_parameter)
    assert found[0] == cause
    assert hint in found[1]
