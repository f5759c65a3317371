"""Statistics of final returns: intervals, Welch's t-test of each pair of groups, and Holm's correction."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from baselines_ppo.plot.caveats import caveats
from common.formatting import format_number
from common.runs.results import RunResults
from common.runtime.tf_import import without_warnings

ALPHA = 0.05
"""Significance level of every interval and test."""


def compare(groups: Mapping[str, Mapping[str, Sequence[RunResults]]], episodes: int = 100) -> dict[str, Any]:
    """Compare the final returns of all groups, with a test for each pair that has at least two seeds each.

    Args:
        groups: {environment: {group: [runs]}}.
        episodes: a run's final return is the mean of as many last episodes.

    Returns:
        A dict that can be written as JSON.
    """
    found = {env: compare_in_environment(several, episodes) for env, several in groups.items()}
    tests = [one for env in found.values() for one in env["comparisons"]]
    for one, p in zip(tests, holm_correction([one["p"] for one in tests])):
        one["p_holm"] = p
        one["differ"] = p is not None and p < ALPHA
        one["statement"] = describe_comparison(one, corrected=len(tests) > 1)
    return {
        "final_episodes": episodes,
        "level": ALPHA,
        "test": "Welch's t-test, two-sided",
        "correction": f"Holm, over {len(tests)} comparisons" if len(tests) > 1 else None,
        "environments": found,
    }


def compare_in_environment(groups: Mapping[str, Sequence[RunResults]], episodes: int) -> dict[str, Any]:
    """Return the statistics, tests and caveats of the groups {name: [runs]} of one environment."""
    finals = {
        name: np.array([run.curve.final_return(episodes) for run in runs if run.curve is not None])
        for name, runs in groups.items()
    }
    described = {
        name: {
            "seeds": len(x),
            **summary_statistics(x),
            "returns": x.tolist(),
            "runs": [str(run.path) for run in groups[name]],
        }
        for name, x in finals.items()
    }
    testable = [(a, b) for a, b in itertools.combinations(finals, 2) if min(len(finals[a]), len(finals[b])) > 1]
    return {
        "groups": described,
        "comparisons": [welch(a, finals[a], b, finals[b]) for a, b in testable],
        "untested": [name for name, x in finals.items() if len(x) < 2] if len(finals) > 1 else [],
        "cautions": caveats(groups),
    }


def summary_statistics(x: np.ndarray) -> dict[str, Any]:
    """Return mean, standard deviation, Student's 95 % interval of the mean, and maximum of final returns [seeds].

    The standard deviation and the interval of one seed are None.
    """
    if len(x) < 2:
        return {"mean": float(x.mean()), "deviation": None, "interval": None, "best": float(x.max())}
    from scipy import stats

    deviation = float(x.std(ddof=1))
    half = float(stats.t.ppf(1 - ALPHA / 2, len(x) - 1)) * deviation / len(x) ** 0.5
    return {
        "mean": float(x.mean()),
        "deviation": deviation,
        "interval": [float(x.mean()) - half, float(x.mean()) + half],
        "best": float(x.max()),
    }


def welch(name_a: str, a: np.ndarray, name_b: str, b: np.ndarray) -> dict[str, Any]:
    """Return Welch's t-test of final returns [seeds], the group with the higher mean first.

    `p` and `interval` are None if the seeds of both groups are equal among each other.
    """
    if a.mean() < b.mean():
        name_a, a, name_b, b = name_b, b, name_a, a
    found: dict[str, Any] = {"a": name_a, "b": name_b, "difference": float(a.mean() - b.mean())}
    found |= {"interval": None, "p": None}
    if a.std() or b.std():
        from scipy import stats

        with without_warnings():  # a group without variance is valid if the other has some
            test = stats.ttest_ind(a, b, equal_var=False)
        found |= {"interval": [float(x) for x in test.confidence_interval(1 - ALPHA)], "p": float(test.pvalue)}
    return found


def holm_correction(p: Sequence[float | None]) -> list[float | None]:
    """Return p-values [M] after Holm's correction for M tests (Holm 1979). None stays None."""
    tested = sorted((value, i) for i, value in enumerate(p) if value is not None)
    corrected: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, i) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * value))
        corrected[i] = highest
    return corrected


def describe_comparison(one: Mapping[str, Any], corrected: bool) -> str:
    """Return the result of a comparison as text.

    Args:
        one: the comparison, with `p_holm` and `differ`.
        corrected: there were several tests.
    """
    a, b, difference = one["a"], one["b"], format_number(one["difference"])
    if one["p"] is None:
        if one["difference"] == 0:
            return f"{a} and {b} are not significantly different: every seed of both ended at the same return"
        return (
            f"{a} is ahead of {b} by {difference}, but the seeds of each group have equal returns: no test is possible"
        )
    after = f", {format_p_value(one['p_holm'])} after Holm's correction" if corrected else ""
    low, high = (format_number(x) for x in one["interval"])
    details = f"95 % interval {low} to {high}, {format_p_value(one['p'])}{after}, Welch's t-test"
    if one["differ"]:
        return f"{a} is better than {b} by {difference} ({details})"
    return f"{a} and {b} are not significantly different: difference {difference} ({details})"


def format_p_value(p: float) -> str:
    """Return a p-value as text."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"
