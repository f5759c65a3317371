"""The profile of an iteration times functions by name; each of them must exist."""

import pytest

from benchmarks.throughput.iteration_profile import PARTS, TIMED, find_owner


@pytest.mark.parametrize("name, module, path", TIMED)
def test_timed_function_exists_and_its_timer_is_used(name, module, path):
    owner, function = find_owner(module, path)
    assert callable(getattr(owner, function))
    assert any(name in timers for _, *timers in PARTS)
