"""Stop criteria of a training, and its progress."""

import pytest

from common.errors import UserError
from common.training.stopping import StopCriteria


@pytest.mark.parametrize(
    "limits",
    [
        StopCriteria(max_timesteps=1),
        StopCriteria(max_episodes=5),
        StopCriteria(max_iters=2),
        StopCriteria(max_seconds=0.5),
    ],
    ids=str,
)
def test_a_single_criterion_is_valid(limits):
    limits.validate()


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, "(none): must be exactly one of max_timesteps"),
        ({"max_iters": 2, "max_seconds": 3}, "max_iters=2 and max_seconds=3"),
        ({"max_timesteps": 1, "max_episodes": 1, "max_iters": 1, "max_seconds": 1}, "exactly one"),
        ({"max_timesteps": -5}, "max_timesteps=-5"),
        ({"max_seconds": -0.1}, "max_seconds=-0.1"),
        ({"max_seconds": float("nan")}, "max_seconds=nan"),
        ({"max_seconds": float("inf")}, "invalid max_seconds=inf: must be positive and finite"),
    ],
    ids=str,
)
def test_no_several_and_negative_criteria_are_refused_in_one_line(limits, expected):
    with pytest.raises(UserError) as error:
        StopCriteria(**limits).validate()
    assert expected in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (StopCriteria(max_timesteps=400), 0.25),
        (StopCriteria(max_episodes=40), 0.5),
        (StopCriteria(max_iters=10), 0.3),
        (StopCriteria(max_seconds=4.0), 1.0),
    ],
    ids=str,
)
def test_progress_is_the_fraction_of_the_given_criterion(limits, expected):
    assert limits.progress(timesteps=100, episodes=20, iters=3, seconds=4.0) == expected


def test_progress_starts_at_0_and_may_exceed_1():
    assert StopCriteria(max_iters=4).progress(0, 0, 0, 0) == 0
    assert StopCriteria(max_iters=4).progress(0, 0, 6, 0) == 1.5


def test_steps_are_rounded_up_to_whole_iterations():
    assert (
        StopCriteria(max_timesteps=100).rounded_up(0, 1024)
        == StopCriteria(max_timesteps=1024).rounded_up(0, 1024)
        == 1024
    )
    assert (
        StopCriteria(max_timesteps=3000).rounded_up(1024, 1024) == 3072
        and StopCriteria(max_timesteps=10).rounded_up(64, 32) == 64
    )
