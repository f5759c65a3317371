"""The check on fresh seeds: paired differences, and the verdict on a winner by luck."""

import pytest
from scipy import stats

from baselines_ppo.tune.fresh_seeds import compare_pairs, describe_check, fresh_seeds

BEST = [210.0, 190.0, 260.0, 230.0]


def test_the_interval_is_that_of_the_paired_test():
    default = [200.0, 185.0, 240.0, 232.0]
    found = compare_pairs(BEST, default)
    expected = stats.ttest_rel(BEST, default).confidence_interval(0.95)
    assert found["difference"]["interval"] == pytest.approx(list(expected), rel=1e-9)
    assert found["verdict"] == "open"  # 8.25 with a standard error of 4.6


@pytest.mark.parametrize("shift, verdict", [(30.0, "better"), (-30.0, "worse"), (0.0, "open")])
def test_the_verdict_is_where_the_interval_is(shift, verdict):
    found = compare_pairs([x + shift for x in BEST], [x + noise for x, noise in zip(BEST, (1, -1, 2, -2))])
    assert found["verdict"] == verdict
    lines = describe_check(found, 300.0, fresh_seeds(0, 4))
    assert "fresh seeds 1000000 to 1000003" in lines[0] and "in the search 300" in lines[0]
    assert ("luck" in lines[1]) == (verdict != "better")
