"""The few operators that acting needs, once over TensorFlow and once over NumPy.

A network written over them has one definition and two speeds: compiled for the update, and on a NumPy snapshot of the weights for
acting, where calling TensorFlow with a batch of one costs far more than the arithmetic. At a batch of one NumPy's time is the number of calls: a
layer is two of them, because a column of ones behind the features makes the bias a row of the weights.
"""

import numpy as np
import tensorflow as tf

from common.runtime.fast_clip import clip


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
        num_inputs: n of the observations.
    """

    def __init__(self, weights, batch_shape, num_inputs):
        self.batch_shape = batch_shape
        weights = {name: np.asarray(w) for name, w in weights.items()}
        self.matrices = {
            name[:-2]: np.vstack([w, weights[f"{name[:-2]}/b"]]) for name, w in weights.items() if name.endswith("/w")
        }
        self.hidden = {layer: self._bias_buffer(w.shape[1], np.float32) for layer, w in self.matrices.items()}
        self.x, self.features = self._bias_buffer(num_inputs, np.float32)
        self.folded = None

    def _bias_buffer(self, n, dtype):
        """(buffer [*batch_shape, n + 1] whose last column is ones, the view of its first n columns)."""
        buffer = np.ones((*self.batch_shape, n + 1), dtype)
        return buffer, buffer[..., :n]

    def fold_normalization(self, layer, mean, std, clip):
        """Make `layer` read raw observations, normalised and clipped to +- `clip`: the filter becomes part of its weights, in float64,
        where no offset of the observations costs precision, and clipping is all that is left to do at every step."""
        w, b = np.split(self.matrices[layer].astype(np.float64), [-1])
        self.matrices[layer] = np.vstack([w / std[:, None], b - (mean / std) @ w])
        self.x, self.features = self._bias_buffer(len(mean), np.float64)
        self.low, self.high, self.folded = mean - clip * std, mean + clip * std, layer

    def read(self, ob):
        """The first layer's input for an observation."""
        if self.folded is None:
            self.features[...] = ob
        else:
            clip(ob, self.low, self.high, self.features)
        return self.x

    def dense(self, x, layer):
        """x W + b, where x has a column of ones for b; in float32."""
        y = x.dot(self.matrices[layer])
        return y if layer != self.folded else y.astype(np.float32)

    def dense_tanh(self, x, layer):
        """tanh of `dense`, with the 1 behind it that the next layer's bias is multiplied by; valid until the next call."""
        buffer, features = self.hidden[layer]
        product = x.dot(self.matrices[layer])
        if layer is self.folded:
            features[...] = product  # a ufunc that casts costs four times as much as a copy that does
            product = features
        np.tanh(product, features)
        return buffer


class NumpyOperators:
    """What sampling needs, over NumPy arrays."""

    exp = staticmethod(np.exp)
    argmax = staticmethod(np.argmax)
    take = staticmethod(np.take)
    where = staticmethod(np.where)
    concatenate = staticmethod(np.concatenate)

    @staticmethod
    def to_int(x):
        return x.astype(np.int32)


class TensorFlowOperators:
    """What sampling needs, over tensors."""

    exp = staticmethod(tf.exp)
    argmax = staticmethod(tf.argmax)
    take = staticmethod(tf.gather)
    where = staticmethod(tf.where)
    concatenate = staticmethod(tf.concat)

    @staticmethod
    def to_int(x):
        return tf.cast(x, tf.int32)
