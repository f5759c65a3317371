"""The few operators that a forward pass needs, once over NumPy and once over TensorFlow.

A network written over them has one definition and two speeds: compiled for the update, and on a NumPy snapshot of the weights for
acting, where a TensorFlow call with a batch of one would cost ten times as much. NumPy's work in place where their input is fresh.
"""
import numpy as np
import tensorflow as tf


class NumpyOperators:
    """Over NumPy arrays. `tanh` and `relu` overwrite their argument: give them only what `dense` has returned."""

    exp = staticmethod(np.exp)
    argmax = staticmethod(np.argmax)
    stack = staticmethod(np.stack)

    @staticmethod
    def dense(x, w, b):
        y = x.dot(w)
        y += b
        return y

    @staticmethod
    def tanh(x):
        return np.tanh(x, x)

    @staticmethod
    def relu(x):
        return np.maximum(x, 0, x)

    @staticmethod
    def concat(xs, axis):
        return np.concatenate(xs, axis)

    @staticmethod
    def rows_of(vector, like):
        """`vector` [d], repeated for every row of `like` [N, d]."""
        return np.broadcast_to(vector, like.shape)

    @staticmethod
    def to_int(x):
        return x.astype(np.int32)


class TensorFlowOperators:
    """The same over tensors."""

    @staticmethod
    def exp(x):
        return tf.exp(x)

    @staticmethod
    def argmax(x, axis):
        return tf.argmax(x, axis, output_type=tf.int32)

    @staticmethod
    def stack(xs, axis):
        return tf.stack(xs, axis)

    @staticmethod
    def dense(x, w, b):
        return tf.matmul(x, w) + b

    @staticmethod
    def tanh(x):
        return tf.tanh(x)

    @staticmethod
    def relu(x):
        return tf.nn.relu(x)

    @staticmethod
    def concat(xs, axis):
        return tf.concat(xs, axis)

    @staticmethod
    def rows_of(vector, like):
        return tf.broadcast_to(vector, tf.shape(like))

    @staticmethod
    def to_int(x):
        return tf.cast(x, tf.int32)
