"""Finds the first NaN or infinity in training data and explains where it may come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.hints import SCALE_REWARDS

FORWARD_HINT = "its forward returned that for a finite observation: fix it, or take a smaller step size"
# a minibatch's arrays, each computed from the ones before it -> (what the array contains, the fix)
INPUT_DESCRIPTIONS = {
    "x": ("a prepared observation", "scale the observations to the order of 1"),
    "flatparam": ("an output of the policy that acted", FORWARD_HINT),
    "ac": ("an action", FORWARD_HINT),
    "vpred": ("a value of the policy that acted", FORWARD_HINT),
    "ret": ("a value target", SCALE_REWARDS),
    "atarg": ("an advantage", SCALE_REWARDS),
}
LARGE = 1e6  # a parameter or a value target above it is the likely cause


def is_finite(x: np.ndarray) -> bool:
    """Return whether an array contains neither NaN nor infinity; only floats, also those of a record, can be such."""
    if x.dtype.names is not None:
        return all(is_finite(x[name]) for name in x.dtype.names)
    return x.dtype.kind != "f" or bool(np.isfinite(x).all())


def float_fields(x: np.ndarray) -> list[np.ndarray]:
    """Return the array itself, or the floats among the fields of an array of records."""
    if x.dtype.names is None:
        return [x] if x.dtype.kind == "f" else []
    return [leaf for name in x.dtype.names for leaf in float_fields(x[name])]


def first_nonfinite_value(x: np.ndarray) -> Any:
    """Return the first NaN or infinity of an array that is not finite."""
    return next(leaf[~np.isfinite(leaf)][0] for leaf in float_fields(x) if not is_finite(leaf))


def first_nonfinite_array(arrays: Mapping[str, np.ndarray], prefix: str) -> str | None:
    """Return "PREFIX/NAME is VALUE" for the first array that is not finite; None if all are."""
    for name, x in arrays.items():
        if not is_finite(x):
            return f"{prefix}/{name} is {first_nonfinite_value(x)}"
    return None


def first_nonfinite_step(
    ob: np.ndarray,
    ac: np.ndarray,
    rew: np.ndarray,
    last_ob: np.ndarray | None = None,
    final_obs: Sequence[tuple[int, int, np.ndarray]] = (),
    failed: bool = False,
) -> tuple[str, int, int, Any] | None:
    """Find the first NaN or infinity, in time, that a segment contains.

    Args:
        ob, ac, rew: [T, K, ...].
        last_ob: [K, ...], after the last step.
        final_obs: [(t, k, ob)] of the episodes that ended.
        failed: whether an environment raised after these steps. Non-finite actions are reported only if an environment
            failed or returned a non-finite value; otherwise the loss check reports them with more detail.

    Returns:
        (what, t, k, value), or None: what is "observation", "reward" or "action"; t is the step that returned it, -1
        for a reset; k is the environment's column.
    """
    candidates = [(t, 2, "observation", k, final_ob) for t, k, final_ob in final_obs if not is_finite(final_ob)]
    sources = [("observation", ob, -1, 2), ("reward", rew, 0, 1)]
    if last_ob is not None:
        sources.append(("observation", last_ob[None], len(rew) - 1, 2))
    for source in sources:
        candidates += _first_in(*source)
    if candidates or failed:
        candidates += _first_in("action", ac, 0, 0)
    if not candidates:
        return None
    t, _, name, k, value = min(candidates, key=lambda candidate: candidate[:2])
    return name, t, k, value


def _first_in(name: str, values: np.ndarray, first_step: int, order: int) -> list[tuple[int, int, str, int, Any]]:
    """Return [(step, order within the step, name, k, value)] of the first non-finite value of [T, K, ...]; or []."""
    if is_finite(values):
        return []
    firsts = [np.argwhere(~np.isfinite(x))[0][:2].tolist() for x in float_fields(values) if not is_finite(x)]
    t, k = min(firsts)
    return [(first_step + t, order, name, k, values[t, k])]


def explain_nonfinite(rows: Mapping[str, np.ndarray], largest_parameter: float) -> tuple[str, str]:
    """Return (cause, hint) for a minibatch whose losses, gradient or update are not finite.

    Args:
        rows: {name: [B, ...]}, the minibatch as the losses read it.
        largest_parameter: the largest absolute value of a parameter before the minibatch.
    """
    for name, (description, hint) in INPUT_DESCRIPTIONS.items():
        if name in rows and not is_finite(rows[name]):
            return f"where {description} is {first_nonfinite_value(rows[name])}", hint
    largest_target = np.abs(rows.get("ret", np.zeros(1))).max()
    if largest_parameter > LARGE:
        hint = "take a smaller step size"
    elif largest_target > LARGE:
        hint = SCALE_REWARDS
    else:
        hint = "take a smaller step size, or check the rewards"
    return f"with value targets up to {largest_target:.3g} and parameters up to {largest_parameter:.3g}", hint
