"""Simulates the rounding of another processor: moves each result of a network's matrix products and convolutions by one ulp.

The direction (relative 2**-23, up or down) is a hash of the result's bits, its position, the array's size and a seed. Equal
operands of equal shapes give bit-identical results, as on any real machine, so bit-exact guarantees still hold. The same
row in a batch of another size gives another result, as on some real machines. Other processes are unaffected unless they
call `install_if_requested`.
"""

import os

import numpy as np
import tensorflow as tf

from common.policies.networks import NumpyNetwork

VARIABLE = "TEST_PERTURB_PRODUCTS"
ULP = np.float32(2.0**-23)


def install_if_requested():
    """Perturb the products of this process's networks if the environment variable contains a seed."""
    if os.environ.get(VARIABLE):
        install(int(os.environ[VARIABLE]))


def install(seed):
    """Perturb, in this process from now on, the acting network's NumPy products and `tf.matmul` and `tf.nn.conv2d`."""
    seed = (seed * 2_654_435_761) & 0x7FFFFFFF

    def perturbed_array(y):
        bits = np.asarray(y, np.float32).view(np.int32).astype(np.uint32)
        place = np.arange(y.size, dtype=np.uint32).reshape(y.shape)
        h = (bits ^ (place * np.uint32(668_265_263)) ^ np.uint32(seed ^ y.size)) * np.uint32(374_761_393)
        h = (h ^ (h >> np.uint32(15))) * np.uint32(2_246_822_519)
        return y * np.where(h >> np.uint32(31), 1 + ULP, 1 - ULP)

    class Perturbed(np.ndarray):
        def dot(self, other):
            return perturbed_array(np.asarray(self).dot(other))

    with_ones = NumpyNetwork._bias_buffer

    def perturbed_buffer(self, n, dtype):
        buffer, features = with_ones(self, n, dtype)
        return buffer.view(Perturbed), features

    NumpyNetwork._bias_buffer = perturbed_buffer

    def perturbed(function):
        def call(*args, **kwargs):
            y = function(*args, **kwargs)
            if y.dtype != tf.float32:
                return y
            bits, place = tf.bitcast(y, tf.int32), tf.reshape(tf.range(tf.size(y)), tf.shape(y))
            h = (
                tf.bitwise.bitwise_xor(
                    tf.bitwise.bitwise_xor(bits, place * 668_265_263), tf.bitwise.bitwise_xor(tf.size(y), seed)
                )
                * 374_761_393
            )
            h = tf.bitwise.bitwise_xor(h, tf.bitwise.right_shift(h, 15)) * -2_048_144_777
            return y * tf.stop_gradient(tf.where(h < 0, 1 + ULP, 1 - ULP))

        return call

    tf.matmul, tf.nn.conv2d = perturbed(tf.matmul), perturbed(tf.nn.conv2d)
