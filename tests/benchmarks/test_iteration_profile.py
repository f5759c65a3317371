"""The profiles of an iteration and of the start time functions by name; each of them must exist."""

import pytest

from benchmarks.throughput.iteration_profile import PARTS, TIMED, find_owner
from benchmarks.throughput.startup import MILESTONES


@pytest.mark.parametrize("name, module, path", TIMED)
def test_timed_function_exists_and_its_timer_is_used(name, module, path):
    owner, function = find_owner(module, path)
    assert callable(getattr(owner, function))
    assert any(name in timers for _, *timers in PARTS)


@pytest.mark.parametrize("part, when, module, path", MILESTONES)
def test_functions_between_which_the_start_is_timed_exist(part, when, module, path):
    owner, function = find_owner(module, path)
    assert callable(getattr(owner, function)) and when in ("before", "after")
