"""Completed fraction of a run: the one computation for training, report, plot and sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from baselines_ppo.config.combinations import STOP_UNITS
from baselines_ppo.config.registry import STOP_SETTINGS
from common.runs.results import RunResults
from common.training.stopping import StopCriteria


class Completion(NamedTuple):
    """The completed fraction of a run, and the limit to which it refers.

    Attributes:
        fraction: 0 or more; the run is complete at 1.
        setting: name of the setting that limits the run, one of `STOP_SETTINGS`.
        limit: its value.
    """

    fraction: float
    setting: str
    limit: float


def stop_criteria(settings: Mapping[str, Any]) -> StopCriteria:
    """Return the stop criteria in the settings of a run; a missing setting and None mean no limit."""
    return StopCriteria(*(settings.get(name) or 0 for name in STOP_SETTINGS))


def stop_settings(criteria: StopCriteria) -> dict[str, float]:
    """Return the settings of a run, {name: limit}, that give these stop criteria."""
    values = (criteria.max_timesteps, criteria.max_episodes, criteria.max_iters, criteria.max_seconds)
    return {name: value for name, value in zip(STOP_SETTINGS, values) if value}


def last_value(run: RunResults, quantity: str) -> float | None:
    """Return the last value of a run's "steps", "time" or "episodes", or None if it is unknown.

    It is taken from progress.csv, whose rows are complete iterations, otherwise from the episodes.
    """
    column = run.column(quantity)
    if column is None and run.curve is not None:
        column = run.curve.axes.get(quantity)
    finite = column[np.isfinite(column)] if column is not None else ()
    return float(finite[-1]) if len(finite) else None


def completed_fraction(run: RunResults) -> Completion | None:
    """Return how much of a run is complete, or None if its limit or its steps are unknown."""
    criteria = stop_criteria(run.settings)
    limits = stop_settings(criteria)
    steps = last_value(run, "steps")
    if len(limits) != 1 or steps is None:
        return None
    ((setting, limit),) = limits.items()
    iterations = len(run.rows.get("TimestepsSoFar", ()))
    fraction = criteria.progress(steps, last_value(run, "episodes") or 0, iterations, last_value(run, "time") or 0)
    return Completion(fraction, setting, limit)


def progress_text(run: RunResults) -> tuple[str, bool]:
    """Return (text such as "50% of 1,000 steps", whether the run is complete); the text is empty if it is unknown."""
    completion = completed_fraction(run)
    if completion is None:
        return "", False
    percent = f"{min(completion.fraction, 1):.0%}"
    return f"{percent} of {completion.limit:,} {STOP_UNITS[completion.setting]}", completion.fraction >= 1
