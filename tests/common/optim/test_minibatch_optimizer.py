"""Gradients of microbatches add up to the gradient of the minibatch."""

import numpy as np
import pytest
import tensorflow as tf
from tolerance import gamma, ulps

from common.mpi_adam import MpiAdam
from common.optim.minibatch_optimizer import MinibatchOptimizer

ROWS, BATCH = 12, 5


def squared_error(w):
    """The loss is the sum of weight (x w - y)^2; its terms are the loss and the sum of weights."""

    def losses(batch, weights, scalars):
        loss = tf.reduce_sum(weights * tf.square(tf.linalg.matvec(batch["x"], w) - batch["y"]))
        return loss, tf.stack([loss, tf.reduce_sum(weights)])

    return losses


def optimise(num_microbatches, xla):
    """(w after two minibatches, their terms [2, 2], the data)."""
    rng = np.random.default_rng(3)
    batch = {"x": rng.standard_normal((ROWS, 3)).astype(np.float32), "y": rng.standard_normal(ROWS).astype(np.float32)}
    indices = np.stack([rng.permutation(ROWS)[:BATCH] for _ in range(2)]).astype(np.int32)
    weights = np.array([[0.2] * 5, [0.25] * 4 + [0.0]], np.float32)  # the last sample of the second is padding
    w = tf.Variable([0.5, -1.0, 2.0])
    optimizer = MinibatchOptimizer(
        squared_error(w), ("loss", "weight"), MpiAdam([w]), xla=xla, num_microbatches=num_microbatches
    )
    return w, optimizer.run_minibatches(batch, indices, weights, 1e-2, [], 3), (batch, indices, weights)


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("num_microbatches", [1, 2, 3, BATCH + 2])
def test_microbatches_make_the_step_of_the_minibatch(num_microbatches, xla):
    w, terms, (batch, indices, weights) = optimise(num_microbatches, xla)
    # terms of the first minibatch by hand, before its step
    w0 = np.array([0.5, -1.0, 2.0])
    error = batch["x"][indices[0]] @ w0 - batch["y"][indices[0]]
    # squares of sums of 4 float32 terms, which may cancel, and a sum of 5 of them; leaving out a microbatch changes a fifth of it
    size = np.abs(batch["x"][indices[0]]) @ np.abs(w0) + np.abs(batch["y"][indices[0]])
    assert np.abs(terms[0] - [weights[0] @ error**2, 1.0]).max() <= gamma(5 + 2 * 5) * max(1, weights[0] @ size**2)
    # two steps of Adam by hand: Kingma and Ba 2015, algorithm 1
    theta, m, v = np.array([0.5, -1.0, 2.0]), 0.0, 0.0
    for t in (1, 2):
        x, y, weight = batch["x"][indices[t - 1]], batch["y"][indices[t - 1]], weights[t - 1]
        grad = 2 * (weight * (x @ theta - y)) @ x
        m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad**2
        theta = theta - 1e-2 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-8)
    # Each of two steps of 0.01 has the relative error of the gradient, and that of 1 - 0.999 ** t in float32. The power may be off by
    # 4 ulps at t = 1. Parameters up to 2 are rounded twice. Other weights would change a step by 1e-3.
    assert w.numpy() == pytest.approx(
        theta, rel=0, abs=2 * 1e-2 * (50 * gamma(15) + ulps(4, 1) / 1e-3 / 2) + ulps(2, 2)
    )
