"""Minibatch descent: parts of a minibatch add up to the whole."""

import numpy as np
import pytest
import tensorflow as tf
from tolerance import gamma, ulps

from common.mpi_adam import MpiAdam
from common.optim.minibatch_optimizer import MinibatchOptimizer

ROWS, BATCH = 12, 5


def squared_error(w):
    """Loss sum of weight (x w - y)^2, with its terms: the loss, and the sum of weights."""

    def losses(batch, weights, scalars):
        loss = tf.reduce_sum(weights * tf.square(tf.linalg.matvec(batch["x"], w) - batch["y"]))
        return loss, tf.stack([loss, tf.reduce_sum(weights)])

    return losses


def swept(parts, xla):
    """(w after two minibatches, their terms [2, 2]), and the data."""
    rng = np.random.default_rng(3)
    batch = {"x": rng.standard_normal((ROWS, 3)).astype(np.float32), "y": rng.standard_normal(ROWS).astype(np.float32)}
    indices = np.stack([rng.permutation(ROWS)[:BATCH] for _ in range(2)]).astype(np.int32)
    weights = np.array([[0.2] * 5, [0.25] * 4 + [0.0]], np.float32)  # the last row of the second is padding
    w = tf.Variable([0.5, -1.0, 2.0])
    optimizer = MinibatchOptimizer(squared_error(w), ("loss", "weight"), MpiAdam([w]), xla=xla, num_microbatches=parts)
    return w, optimizer.run_minibatches(batch, indices, weights, 1e-2, [], 3), (batch, indices, weights)


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("parts", [1, 2, 3, BATCH + 2])
def test_parts_of_a_minibatch_make_the_step_of_the_whole(parts, xla):
    w, terms, (batch, indices, weights) = swept(parts, xla)
    # the first minibatch by hand, before its step
    w0 = np.array([0.5, -1.0, 2.0])
    error = batch["x"][indices[0]] @ w0 - batch["y"][indices[0]]
    # squares of sums of 4 float32 terms, which may cancel, and a sum of 5 of them; a part that is left out makes a fifth of it
    size = np.abs(batch["x"][indices[0]]) @ np.abs(w0) + np.abs(batch["y"][indices[0]])
    assert np.abs(terms[0] - [weights[0] @ error**2, 1.0]).max() <= gamma(5 + 2 * 5) * max(1, weights[0] @ size**2)
    # Adam's first step is the step size in the direction of the gradient's sign; the second from there, Kingma and Ba 2015, algorithm 1
    theta, m, v = np.array([0.5, -1.0, 2.0]), 0.0, 0.0
    for t in (1, 2):
        x, y, weight = batch["x"][indices[t - 1]], batch["y"][indices[t - 1]], weights[t - 1]
        grad = 2 * (weight * (x @ theta - y)) @ x
        m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad**2
        theta = theta - 1e-2 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-8)
    # two steps of 0.01, each of a relative error of the gradients' and of 1 - 0.999 ** t in float32, whose power may be off by 4 ulps at t = 1;
    # and two roundings of parameters up to 2. A step of other weights is off by 1e-3.
    assert w.numpy() == pytest.approx(
        theta, rel=0, abs=2 * 1e-2 * (50 * gamma(15) + ulps(4, 1) / 1e-3 / 2) + ulps(2, 2)
    )
