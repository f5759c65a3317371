"""Generalised advantage estimation and what is measured of a value function. Pure functions over NumPy arrays; time is axis 0."""

import numpy as np


def discounted_sums(x, decay):
    """y_t = x_t + decay_t * y_{t+1}, with y_T = 0, for all t at once.

    The recurrence is composed with itself: after k passes every y_t holds 2**k terms. That is log2(T) vectorised passes in place
    of T steps of Python.

    Args:
        x, decay: [T, ...], of one shape.

    Returns:
        [T, ...] float64.
    """
    y, d = np.array(x, np.float64), np.array(decay, np.float64)
    reach = 1
    while reach < len(y):
        y[:-reach] += d[:-reach] * y[reach:]
        d[:-reach] *= d[reach:]
        d[-reach:] = 0  # nothing beyond the end
        reach *= 2
    return y


def gae(rew, vpred, new, nextvpred, final_vpred, gamma, lam):
    """Advantages by GAE(gamma, lambda): Schulman et al. 2016, eq. 16; truncated at the end of the segment as in Schulman et al. 2017, eq. 11.

    Args:
        rew, vpred: [T, ...], reward r_t and value V(s_t).
        new: [T, ...], whether step t is the first of its episode.
        nextvpred: [...], V(s_T), or 0 where the episode ended with step T - 1.
        final_vpred: [T, ...], V of an episode's last observation at the step that a time limit ended it; 0 elsewhere. A death
            bootstraps 0, a time limit what the state was still worth.
        gamma, lam: discount and lambda; lam = 0 is TD(0), lam = 1 Monte Carlo.

    Returns:
        [T, ...] float32.
    """
    rew, vpred = np.asarray(rew, np.float64), np.asarray(vpred, np.float64)
    goes_on = 1.0 - np.concatenate([new[1:], np.zeros_like(new[:1])])
    v_next = np.concatenate([vpred[1:], np.asarray(nextvpred, np.float64)[None]]) * goes_on + final_vpred
    delta = rew + gamma * v_next - vpred
    with np.errstate(over="ignore"):  # what is beyond float32 is found in the losses, with its place
        return discounted_sums(delta, gamma * lam * goes_on).astype(np.float32)


def add_vtarg_and_adv(seg, gamma, lam):
    """Adds `adv` (advantages) and `tdlamret` (value targets, TD(lambda)) to a segment: `gae`, from the segment's own entries."""
    final_vpred = seg.get("final_vpred", np.zeros_like(seg["vpred"]))
    seg["adv"] = gae(seg["rew"], seg["vpred"], seg["new"], seg["nextvpred"], final_vpred, gamma, lam)
    seg["tdlamret"] = seg["adv"] + seg["vpred"]


def episode_returns(returns, new):
    """Every step's episode's whole return, from returns to go [T, ...] that start with an episode; `new` as in `gae`."""
    starts = np.maximum.accumulate(np.where(new, np.arange(len(new)).reshape(-1, *[1] * (new.ndim - 1)), 0), axis=0)
    return np.take_along_axis(returns, starts, axis=0)


def standardise(x, valid=None):
    """(x - mean) / standard deviation over the `valid` entries; all zero if they are all equal."""
    chosen = x if valid is None else x[valid]
    with np.errstate(over="ignore", invalid="ignore"):  # as in `gae`
        mean, std = chosen.mean(dtype=np.float64), chosen.std(dtype=np.float64)
        return ((x - mean) / max(std, 1e-8)).astype(np.float32)


def explained_variance(vpred, ret):
    """1 - Var[ret - vpred] / Var[ret]: 1 is a perfect prediction, 0 no better than a constant. NaN if `ret` is constant."""
    var = np.var(ret, dtype=np.float64)
    return float("nan") if var == 0 else 1 - np.var(ret - vpred, dtype=np.float64) / var
