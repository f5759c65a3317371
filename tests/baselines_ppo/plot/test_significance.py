"""Statistics of groups against calculations by hand, and averages of curves."""

from math import sqrt

import numpy as np
import pytest
from plot_runs import A, B, monitored
from scipy import stats

from baselines_ppo.plot.figure import bootstrap_band, on_common_grid
from baselines_ppo.plot.grouping import load
from baselines_ppo.plot.significance import holm_correction, summary_statistics, welch


def test_interval_of_a_group_is_students():
    # mean 2, standard deviation 1, and 4.30265 is Student's 97.5 % quantile at 2 degrees of freedom, from a printed table
    found = summary_statistics(np.array([1.0, 2.0, 3.0]))
    assert (found["mean"], found["deviation"], found["best"]) == (2, 1, 3)
    assert found["interval"] == pytest.approx([2 - 4.30265 / sqrt(3), 2 + 4.30265 / sqrt(3)], abs=1e-4)


def test_difference_agrees_with_welchs_formulas():
    a, b = np.array(A), np.array(B)
    parts = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    error, freedom = sqrt(sum(parts)), sum(parts) ** 2 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))
    difference = 315 - 340 / 3
    found = welch("b", b, "a", a)
    assert (found["a"], found["b"]) == ("a", "b")
    assert found["difference"] == pytest.approx(difference)
    assert found["p"] == pytest.approx(2 * stats.t.sf(difference / error, freedom))
    half = stats.t.ppf(0.975, freedom) * error
    assert found["interval"] == pytest.approx([difference - half, difference + half])


def test_holms_correction_agrees_with_hand_calculation():
    # 3 x 0.01; 2 x 0.03; 1 x 0.04, which must not be less than the previous one
    assert holm_correction([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm_correction([0.5, 0.6]) == [1.0, 1.0]


def test_the_bootstrap_band_of_two_seeds_spans_both():
    # a quarter of the resamples has the lower seed twice, another the upper one: far more than 2.5 % each
    low, high = bootstrap_band(np.array([[0.0, 5.0], [10.0, 5.0]]), np.random.default_rng(0))
    assert low.tolist() == [0, 5] and high.tolist() == [10, 5]


def test_curves_are_averaged_where_all_seeds_have_a_value(tmp_path):
    monitored(tmp_path / "s1", [0, 2, 4, 6])
    monitored(tmp_path / "s2", [10, 12])
    runs = load([tmp_path])[0]["Hopper-v4"]
    grid, returns, longest = on_common_grid(runs, "steps", 1)
    assert (grid[0], grid[-1], longest) == (10, 20, 40)
    np.testing.assert_allclose(returns.mean(axis=0), 5 + (grid - 10) * 0.2)  # both rise by 2 in 10 steps
