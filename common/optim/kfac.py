"""K-FAC: steps along the gradient, preconditioned by a Kronecker-factored approximation of the Fisher matrix.

Martens and Grosse 2015, "Optimizing Neural Networks with Kronecker-factored Approximate Curvature"; for policies, Wu et
al. 2017, "Scalable trust-region method for deep reinforcement learning using Kronecker-factored approximation".
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import tensorflow as tf

from common.distributed.communicator import Communicator
from common.mpi_adam import FlatOptimizer, get_flat

MAX_RATIO = 1e3  # of what is added to A and G: a layer whose outputs have no effect yet has G = 0
Factors = tuple[np.ndarray, np.ndarray]  # of a layer: A [n + 1, n + 1] of its inputs, G [m, m] of its outputs


class Kfac(FlatOptimizer):
    """Gradient steps in the metric of the Fisher matrix: parameters - stepsize P gradient.

    The Fisher block of a dense layer y = [x, 1] W is approximated by the Kronecker product of A = E [x, 1]^T [x, 1] and
    G = E g^T g, with the gradient g of log pi(a|s) with respect to y. P inverts it with damping, as in section 6.3 of
    Martens and Grosse. Other variables have a diagonal Fisher matrix that is known.

    Args:
        layers: (w [n, m], b [m]) of each dense layer.
        others: the other variables.
        information: diagonal entry of the Fisher matrix for the other variables, such as 2 for the log std of a
            Gaussian.
        damping: lambda; the product of what is added to the diagonals of A and G.
        comm: the ranks; None: all of the job.
    """

    def __init__(
        self,
        layers: Sequence[tuple[tf.Variable, tf.Variable]],
        others: Iterable[tf.Variable],
        information: float,
        damping: float,
        comm: Communicator | None = None,
    ) -> None:
        others = list(others)
        super().__init__([*(x for layer in layers for x in layer), *others], (), comm)
        self.num_layers = len(layers)
        self.information = information
        self.damping = damping
        for w, _ in layers:
            n, m = w.shape
            self.constants += [tf.Variable(tf.eye(size), trainable=False) for size in (n + 1, m)]

    @property
    def hyperparameters(self) -> Hashable:
        """Return the number of layers, the Fisher information of other variables, and the damping, as constants of
        compiled functions.
        """
        return self.num_layers, self.information, self.damping

    def precondition(self, grad: tf.Tensor) -> tf.Tensor:
        """P times a gradient [P]: A^-1 dW G^-1 for each layer, with bias as the last row of W."""
        parts = [
            tf.reshape(part, x.shape)
            for part, x in zip(tf.split(grad, [x.shape.num_elements() for x in self.var_list]), self.var_list)
        ]
        result = []
        for i in range(self.num_layers):
            w, b = parts[2 * i : 2 * i + 2]
            inverse_a, inverse_g = self.constants[2 * i : 2 * i + 2]
            product = inverse_a @ tf.concat([w, b[None]], axis=0) @ inverse_g
            result += [product[:-1], product[-1]]
        result += [x / (self.information + self.damping) for x in parts[2 * self.num_layers :]]
        return get_flat(result)

    def step(self, flat: tf.Tensor, grad: tf.Tensor, stepsize: tf.Tensor | float) -> tuple[tf.Tensor, ...]:
        """Return (parameters [P] after one step,): flat - stepsize * P grad, where P is the preconditioner."""
        return (flat - stepsize * self.precondition(grad),)

    def set_factors(self, factors: Sequence[Factors]) -> None:
        """Invert the damped factors of each layer. Collective: all ranks get the inverses of rank 0."""
        inverses = []
        for a, g in factors:
            added_to_a, added_to_g = damping_of_factors(a, g, self.damping)
            inverses += [
                np.linalg.inv(x.astype(np.float64) + added * np.eye(len(x)))
                for x, added in ((a, added_to_a), (g, added_to_g))
            ]
        # other processors may round the inverses differently
        flat = np.concatenate([x.ravel() for x in inverses]).astype(np.float32)
        flat = self.comm.broadcast_array(flat)
        for x, values in zip(self.constants, np.split(flat, np.cumsum([x.size for x in inverses])[:-1])):
            x.assign(values.reshape(x.shape))


def damping_of_factors(a: np.ndarray, g: np.ndarray, damping: float) -> tuple[float, float]:
    """Return what to add to the diagonals of A and G.

    The product of the two is `damping`; their ratio is the root of the ratio of the mean eigenvalues of A and G.
    """
    mean_a, mean_g = (float(np.trace(x)) / len(x) for x in (a, g))
    ratio = float(np.clip(np.sqrt(mean_a / max(mean_g, 1e-30)), 1 / MAX_RATIO, MAX_RATIO))
    return np.sqrt(damping) * ratio, np.sqrt(damping) / ratio


def second_moments(x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """The weighted sum of the outer products of rows [N, n] with themselves, flattened: [n * n]."""
    return tf.reshape(tf.matmul(x, weights[:, None] * x, transpose_a=True), [-1])


def split_factors(flat: np.ndarray, shapes: Sequence[tuple[int, int]]) -> list[Factors]:
    """The factors of layers with weights [n, m], from their concatenation."""
    sizes = [size for n, m in shapes for size in (n + 1, m)]
    parts = np.split(flat, np.cumsum([size * size for size in sizes])[:-1])
    squares = [part.reshape(size, size) for part, size in zip(parts, sizes)]
    return list(zip(squares[::2], squares[1::2]))
