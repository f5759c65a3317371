"""Generalised advantage estimation, and metrics of a value function: pure NumPy functions with time as axis 0."""

from __future__ import annotations

import numpy as np

from common.rollouts.segment import Segment


def discounted_sums(x: np.ndarray, decay: np.ndarray) -> np.ndarray:
    """Compute y_t = x_t + decay_t * y_{t+1}, with y_T = 0, for all t.

    The recurrence is composed with itself: after k passes each y_t is the sum of 2**k terms. This takes log2(T)
    vectorised passes instead of T steps in Python.

    Args:
        x, decay: [T, ...], of the same shape.

    Returns:
        [T, ...] float64.
    """
    y = np.array(x, np.float64)
    d = np.array(decay, np.float64)
    span = 1
    while span < len(y):
        y[:-span] += d[:-span] * y[span:]
        d[:-span] *= d[span:]
        d[-span:] = 0  # no terms after the end
        span *= 2
    return y


def gae(
    rew: np.ndarray,
    vpred: np.ndarray,
    new: np.ndarray,
    nextvpred: np.ndarray,
    final_vpred: np.ndarray,
    gamma: float,
    lam: float,
) -> np.ndarray:
    """Advantages by GAE(gamma, lambda): Schulman et al. 2016, eq. 16, truncated as in Schulman et al. 2017, eq. 11.

    Args:
        rew, vpred: [T, ...], reward r_t and value V(s_t).
        new: [T, ...], whether step t is the first of its episode.
        nextvpred: [...], V(s_T), or 0 where the episode ended with step T - 1.
        final_vpred: [T, ...], V of the last observation of an episode, at the step at which a time limit ended it; 0
            elsewhere. A termination bootstraps 0, a time limit the value of the state that was reached.
        gamma: discount.
        lam: lambda; 0 is TD(0), 1 is Monte Carlo.

    Returns:
        [T, ...] float32.
    """
    rew, vpred = np.asarray(rew, np.float64), np.asarray(vpred, np.float64)
    nonterminal = 1.0 - np.concatenate([new[1:], np.zeros_like(new[:1])])
    v_next = np.concatenate([vpred[1:], np.asarray(nextvpred, np.float64)[None]]) * nonterminal + final_vpred
    delta = rew + gamma * v_next - vpred
    with np.errstate(over="ignore"):  # the losses report what overflows float32, with its minibatch
        return discounted_sums(delta, gamma * lam * nonterminal).astype(np.float32)


def add_vtarg_and_adv(seg: Segment, gamma: float, lam: float) -> None:
    """Add `adv` (advantages, `gae`) and `tdlamret` (value targets, TD(lambda)) to a segment that has its values."""
    final_vpred = seg.get("final_vpred", np.zeros_like(seg["vpred"]))
    seg["adv"] = gae(seg["rew"], seg["vpred"], seg["new"], seg["nextvpred"], final_vpred, gamma, lam)
    seg["tdlamret"] = seg["adv"] + seg["vpred"]


def episode_returns(returns: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Replace returns-to-go [T, ...] by those of whole episodes; the first step must start one. `new` as in `gae`."""
    steps = np.arange(len(new)).reshape(-1, *[1] * (new.ndim - 1))
    starts = np.maximum.accumulate(np.where(new, steps, 0), axis=0)
    return np.take_along_axis(returns, starts, axis=0)


def standardise(x: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """(x - mean) / std in float32, with mean and std over the `valid` entries; 0 if these are all equal."""
    used = x if valid is None else x[valid]
    with np.errstate(over="ignore", invalid="ignore"):  # as in `gae`
        mean, std = used.mean(dtype=np.float64), used.std(dtype=np.float64)
        return ((x - mean) / max(std, 1e-8)).astype(np.float32)


def explained_variance(vpred: np.ndarray, ret: np.ndarray) -> float:
    """1 - Var[ret - vpred] / Var[ret]: 1 for a perfect prediction, 0 for a constant one; NaN if `ret` is constant."""
    var = np.var(ret, dtype=np.float64)
    return float("nan") if var == 0 else 1 - np.var(ret - vpred, dtype=np.float64) / var
