"""One step of a policy with a memory in float64, from its weights by name, with error bounds as in `exact_networks`.

The equations are those of Hochreiter and Schmidhuber 1997 with a forget gate, and of Cho et al. 2014, version 1.
"""

import numpy as np
from exact_networks import Bounded, dense, tanh
from tolerance import LIBM, ulps


def joined(*parts):
    """Concatenate `Bounded` arrays along their last axis."""
    return Bounded(*(np.concatenate(arrays, axis=-1) for arrays in zip(*parts)))


def rounded(value, error):
    """A result with the error of its operands, rounded once."""
    return Bounded(value, error + ulps(1, np.abs(value) + error))


def plus(a, b):
    return rounded(a.value + b.value, a.error + b.error)


def times(a, b):
    error = np.abs(a.value) * b.error + np.abs(b.value) * a.error + a.error * b.error
    return rounded(a.value * b.value, error)


def sigmoid(x):
    """Its slope is at most a quarter."""
    return Bounded(1 / (1 + np.exp(-x.value)), x.error / 4 + ulps(LIBM, 1))


def split(x, parts):
    return [Bounded(*two) for two in zip(*(np.split(part, parts, axis=-1) for part in x))]


def lstm(w, x, h, c):
    """(h, c) after a step."""
    gates = plus(dense(x, w["memory/x/w"], w["memory/x/b"]), dense(h, w["memory/h/w"], 0.0))
    i, f, g, o = split(gates, 4)
    c = plus(times(sigmoid(f), c), times(sigmoid(i), tanh(g)))
    return times(sigmoid(o), tanh(c)), c


def gru(w, x, h):
    """h after a step."""
    xz, xr, xg = split(dense(x, w["memory/x/w"], w["memory/x/b"]), 3)
    hz, hr, hg = split(dense(h, w["memory/h/w"], w["memory/h/b"]), 3)
    z = sigmoid(plus(xz, hz))
    g = tanh(plus(xg, times(sigmoid(plus(xr, hr)), hg)))
    rest = rounded(1 - z.value, z.error)
    return plus(times(z, h), times(rest, g))


def outputs(pi, features, state, start):
    """(flatparam, vpred, next state) of a `NetworkPolicy` with a memory and tanh units, `Bounded`.

    Args:
        features: [N, F], `Bounded`.
        state: [N, S], before the step.
        start: [N] bool, where the state is forgotten.
    """
    w = {key: v.numpy().astype(np.float64) for key, v in pi.weights.items()}
    state = np.where(start[:, None], 0.0, state.astype(np.float64))
    before = Bounded(state, np.zeros_like(state))
    if pi.body.cell.kind == "lstm":
        h, c = lstm(w, features, *split(before, 2))
        after = joined(h, c)
    else:
        h = after = gru(w, features, before)

    def net(name):
        x = h
        for i in range(1, len([key for key in w if key.startswith(f"{name}/fc") and key.endswith("/w")]) + 1):
            x = tanh(dense(x, w[f"{name}/fc{i}/w"], w[f"{name}/fc{i}/b"]))
        return x

    flat = dense(net("pol"), w["pol/final/w"], w["pol/final/b"])
    if "pol/logstd" in w:
        own = np.broadcast_to(w["pol/logstd"], flat.value.shape)
        flat = joined(flat, Bounded(own, np.zeros_like(own)))
    vpred = dense(net("pol" if pi.shared_trunk else "vf"), w["vf/final/w"], w["vf/final/b"])
    return flat, vpred.at(slice(None), 0), after
