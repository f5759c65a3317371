"""Initial weights, from a NumPy generator: a seed gives the same network on every rank and in every version of TensorFlow."""

import math

import numpy as np

from common.validation import check_choice, check_float


def normc(rng, shape, gain):
    """Gaussian columns scaled to length `gain`: Baselines' `normc_initializer`. `shape` is [..., fan_out]."""
    w = rng.standard_normal(shape)
    return (gain * w / np.sqrt(np.square(w).sum(axis=tuple(range(len(shape) - 1)), keepdims=True))).astype(np.float32)


def orthogonal(rng, shape, gain):
    """Orthogonal rows or columns, whichever are fewer, times `gain`: Saxe et al. 2014. `shape` is [..., fan_out]."""
    rows, columns = int(np.prod(shape[:-1])), shape[-1]
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))
    return (gain * (q if rows >= columns else q.T)).reshape(shape).astype(np.float32)


INITIALISERS = {"normc": normc, "orthogonal": orthogonal}


def initialise_weights(weights, rng, init, init_logstd):
    """Draw a policy's weights: `*/w` by `init`, the policy's output small, so that it starts almost uniform; `*/b` zero.

    Args:
        weights: {name: tf.Variable}.
        rng: NumPy generator.
        init: a name of `INITIALISERS`.
        init_logstd: value of 'pol/logstd', where there is one.
    """
    hidden_gain = math.sqrt(2) if init == "orthogonal" else 1.0
    for name, v in weights.items():
        if name == "pol/logstd":
            v.assign(np.full(v.shape, init_logstd, np.float32))
        elif name.endswith("/w"):
            gain = {"pol/final/w": 0.01, "vf/final/w": 1.0}.get(name, hidden_gain)
            v.assign(INITIALISERS[init](rng, tuple(v.shape), gain))
        else:
            v.assign(np.zeros(v.shape, np.float32))


def check_init(init, init_logstd):
    """Raises UserError unless `init` is a name of `INITIALISERS`, and exp(`init_logstd`) a deviation that float32 holds."""
    check_choice("init", init, INITIALISERS)
    check_float("init_logstd", init_logstd, -80, 80)
