"""Ranks whose arrays differ from those of most ranks are found."""

import pytest

from common.diagnostics.replica_check import minority_ranks


@pytest.mark.parametrize(
    "values, minority",
    [
        ([b"a", b"a", b"a"], []),
        ([b"a", b"b", b"a"], [1]),
        ([b"b", b"a", b"a"], [0]),
        ([b"a", b"b"], [1]),
        ([b"a", b"b", b"b", b"a"], [1, 2]),
        ([b"a", b"b", b"c"], [1, 2]),
    ],
)
def test_the_ranks_in_the_minority_are_named_and_a_tie_counts_rank_0_as_right(values, minority):
    assert minority_ranks(values) == minority
