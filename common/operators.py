"""The few operators that acting needs, once over TensorFlow and once over NumPy.

A network written over them has one definition and two speeds: compiled for the update, and on a NumPy snapshot of the weights for
acting, where calling TensorFlow with a batch of one costs far more than the arithmetic. At a batch of one NumPy's time is the number of calls: a
layer is two of them, because a column of ones behind the features makes the bias a row of the weights.
"""
import numpy as np
import tensorflow as tf


class TensorFlowNetwork:
    """Layers over a policy's variables.

    Args:
        weights: {name: variable}, with `<layer>/w` [n, m] and `<layer>/b` [m] for each layer.
    """

    def __init__(self, weights):
        self.weights = weights

    def dense(self, x, layer):
        """x W + b; [N, n] -> [N, m]."""
        return tf.matmul(x, self.weights[f"{layer}/w"]) + self.weights[f"{layer}/b"]

    def dense_tanh(self, x, layer):
        """tanh(x W + b)."""
        return tf.tanh(self.dense(x, layer))


class NumpyNetwork:
    """The same over a snapshot of the weights, for batches of one shape. A hidden layer's result is overwritten by its next call.

    Args:
        weights: as above, variables or arrays; they are copied.
        batch_shape: (N,), or () for one observation without a batch axis: half the cost.
    """

    def __init__(self, weights, batch_shape):
        self.batch_shape = batch_shape
        weights = {name: np.asarray(w) for name, w in weights.items()}
        self.matrices = {name[:-2]: np.vstack([w, weights[f"{name[:-2]}/b"]]) for name, w in weights.items() if name.endswith("/w")}
        self.hidden = {layer: self.with_ones(w.shape[1]) for layer, w in self.matrices.items()}

    def with_ones(self, n):
        """(buffer [*batch_shape, n + 1] whose last column is ones, the view of its first n columns)."""
        buffer = np.ones((*self.batch_shape, n + 1), np.float32)
        return buffer, buffer[..., :n]

    def dense(self, x, layer):
        return x.dot(self.matrices[layer])

    def dense_tanh(self, x, layer):
        buffer, features = self.hidden[layer]
        np.tanh(x.dot(self.matrices[layer]), features)
        return buffer


class NumpyOperators:
    """What sampling needs, over NumPy arrays."""

    exp = staticmethod(np.exp)
    argmax = staticmethod(np.argmax)
    stack = staticmethod(np.stack)

    @staticmethod
    def to_int(x):
        return x.astype(np.int32)


class TensorFlowOperators:
    """What sampling needs, over tensors."""

    exp = staticmethod(tf.exp)
    argmax = staticmethod(tf.argmax)
    stack = staticmethod(tf.stack)

    @staticmethod
    def to_int(x):
        return tf.cast(x, tf.int32)
