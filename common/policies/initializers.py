"""Initial weights, drawn from a NumPy generator, so that a seed gives the same network on every rank and in every
version of TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from common.validation import check_choice, check_float


def normc(rng: np.random.Generator, shape: Sequence[int], gain: float) -> np.ndarray:
    """Draw Gaussian columns scaled to length `gain`: Baselines' `normc_initializer`.

    Args:
        rng: source of randomness.
        shape: [..., fan_out].
        gain: length of each column.

    Returns:
        [*shape] float32.
    """
    w = rng.standard_normal(shape)
    lengths = np.sqrt(np.square(w).sum(axis=tuple(range(len(shape) - 1)), keepdims=True))
    return np.asarray(gain * w / lengths, np.float32)


def orthogonal(rng: np.random.Generator, shape: Sequence[int], gain: float) -> np.ndarray:
    """Draw a matrix with orthogonal rows or columns, whichever are fewer, of length `gain` (Saxe et al. 2014).

    Args:
        rng: source of randomness.
        shape: [..., fan_out].
        gain: length of each row or column.

    Returns:
        [*shape] float32.
    """
    rows, columns = int(np.prod(shape[:-1])), shape[-1]
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))
    return (gain * (q if rows >= columns else q.T)).reshape(shape).astype(np.float32)


INITIALIZERS: dict[str, Callable[[np.random.Generator, Sequence[int], float], np.ndarray]] = {
    "normc": normc,
    "orthogonal": orthogonal,
}


GAINS = {"pol/final/w": 0.01, "vf/final/w": 1.0, "memory/x/w": 1.0, "memory/h/w": 1.0}


def initialize_weights(
    weights: Mapping[str, tf.Variable], rng: np.random.Generator, init: str, init_logstd: float
) -> None:
    """Draw a policy's weights: each `*/w` by `init`, each `*/scale` one, others zero.

    The policy's output layer is small, so that the first policy is almost uniform.

    Args:
        weights: {name: tf.Variable}.
        rng: source of randomness.
        init: a name of `INITIALIZERS`.
        init_logstd: value of 'pol/logstd', if there is one.
    """
    hidden_gain = math.sqrt(2) if init == "orthogonal" else 1.0
    for name, v in weights.items():
        if name == "pol/logstd":
            v.assign(np.full(v.shape, init_logstd, np.float32))
        elif name.endswith("/w"):
            gain = GAINS.get(name, hidden_gain)
            method = "orthogonal" if name == "memory/h/w" else init  # of a memory, so that no state grows or fades
            v.assign(INITIALIZERS[method](rng, tuple(v.shape), gain))
        elif name.endswith("/scale"):  # of layer normalisation
            v.assign(np.ones(v.shape, np.float32))
        else:
            v.assign(np.zeros(v.shape, np.float32))


def check_init(init: str, init_logstd: float) -> None:
    """Raise UserError unless `init` is a name of `INITIALIZERS` and float32 can represent the standard deviation
    exp(`init_logstd`).
    """
    check_choice("init", init, INITIALIZERS)
    check_float("init_logstd", init_logstd, -80, 80)
