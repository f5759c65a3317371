"""How long a run goes on."""

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
def test_one_limit_passes(limits):
    limits.check()


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({}, "it has none"),
        ({"max_iters": 2, "max_seconds": 3}, "max_iters=2 and max_seconds=3"),
        ({"max_timesteps": 1, "max_episodes": 1, "max_iters": 1, "max_seconds": 1}, "exactly one"),
        ({"max_timesteps": -5}, "max_timesteps=-5"),
        ({"max_seconds": -0.1}, "max_seconds=-0.1"),
        ({"max_seconds": float("nan")}, "max_seconds=nan"),
        ({"max_seconds": float("inf")}, "max_seconds=inf is no number of them"),
    ],
    ids=str,
)
def test_none_several_and_negative_ones_are_refused_in_one_line(limits, says):
    with pytest.raises(UserError) as error:
        StopCriteria(**limits).check()
    assert says in str(error.value) and "\n" not in str(error.value)


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
def test_progress_is_the_part_of_its_own_limit(limits, expected):
    assert limits.progress(timesteps=100, episodes=20, iters=3, seconds=4.0) == expected


def test_progress_goes_from_0_past_1():
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
