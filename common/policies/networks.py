"""Fully connected layers in TensorFlow and in NumPy.

A network written over them has one definition and two implementations. The update uses compiled TensorFlow. Acting uses
NumPy on a snapshot of the weights, because a TensorFlow call with a batch of one costs far more than its arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from common.policies.layers.memory_cells import NumpyFunctions, TensorFlowFunctions, normalise_layer

# activation -> function of tensors
ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "tanh": tf.tanh,
    "relu": tf.nn.relu,
    "elu": tf.nn.elu,
    "silu": tf.nn.silu,
}


def _relu(x: np.ndarray, out: np.ndarray) -> None:
    np.maximum(x, np.float32(0), out=out)


def _elu(x: np.ndarray, out: np.ndarray) -> None:
    np.copyto(out, np.where(x > 0, x, np.expm1(np.minimum(x, np.float32(0)))))


def _silu(x: np.ndarray, out: np.ndarray) -> None:
    np.multiply(x, NumpyFunctions.sigmoid(x), out=out)


# activation -> function (array, output array)
NUMPY_ACTIVATIONS: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "tanh": np.tanh,
    "relu": _relu,
    "elu": _elu,
    "silu": _silu,
}


class TensorFlowNetwork:
    """Layers over a policy's variables.

    Args:
        weights: {name: variable}, with `<layer>/w` [n, m] and `<layer>/b` [m] for each layer, and `<layer>/scale` and
            `<layer>/offset` [m] for a hidden layer that is normalised.
        activation: of hidden layers, a key of `ACTIVATIONS`.
    """

    def __init__(self, weights: Mapping[str, tf.Variable], activation: str = "tanh") -> None:
        self.weights = weights
        self.activation = activation

    def dense(self, x: tf.Tensor, layer: str) -> tf.Tensor:
        """Return x W + b; [N, n] -> [N, m]."""
        return tf.matmul(x, self.weights[f"{layer}/w"]) + self.weights[f"{layer}/b"]

    def hidden_layer(self, x: tf.Tensor, layer: str) -> tf.Tensor:
        """Return the activation of x W + b, which is first normalised if the layer has a scale; [N, n] -> [N, m]."""
        x = self.dense(x, layer)
        if (scale := self.weights.get(f"{layer}/scale")) is not None:
            x = normalise_layer(TensorFlowFunctions, x, scale, self.weights[f"{layer}/offset"])
        return ACTIVATIONS[self.activation](x)


class NumpyNetwork:
    """The same layers over a snapshot of the weights, for batches of one shape.

    With a batch of one, call overhead dominates. Each layer therefore takes two NumPy calls: the bias is the last row
    of the weight matrix, and the features carry a constant 1. A hidden layer's result is overwritten by its next call.

    Args:
        weights: as in `TensorFlowNetwork`, variables or arrays; they are copied.
        batch_shape: (N,), or () for one observation without a batch axis, which costs half as much.
        num_inputs: n, the size of an observation.
        activation: of hidden layers, a key of `NUMPY_ACTIVATIONS`.
    """

    def __init__(
        self,
        weights: Mapping[str, np.ndarray],
        batch_shape: tuple[int, ...],
        num_inputs: int,
        activation: str = "tanh",
    ) -> None:
        self.batch_shape = batch_shape
        self.activate = NUMPY_ACTIVATIONS[activation]
        weights = {name: np.asarray(w) for name, w in weights.items()}
        self.matrices = {
            name[:-2]: np.vstack([w, weights[f"{name[:-2]}/b"]]) for name, w in weights.items() if name.endswith("/w")
        }
        self.scales = {
            name.removesuffix("/scale"): (w, weights[f"{name.removesuffix('/scale')}/offset"])
            for name, w in weights.items()
            if name.endswith("/scale")
        }
        self.hidden = {layer: self._bias_buffer(w.shape[1], np.float32) for layer, w in self.matrices.items()}
        self.x, self.features = self._bias_buffer(num_inputs, np.float32)
        self.joined: tuple[np.ndarray, np.ndarray] | None = None  # buffer of `with_bias`
        self.normalized_layer: str | None = None
        self.low = self.high = np.empty(0)  # bounds of observations, set by `fold_normalization`

    def _bias_buffer(self, n: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
        """Return a buffer [*batch_shape, n + 1] whose last column is 1, and the view of its first n columns."""
        buffer: np.ndarray = np.ones((*self.batch_shape, n + 1), dtype)
        return buffer, buffer[..., :n]

    def fold_normalization(self, layer: str, mean: np.ndarray, std: np.ndarray, clip: float) -> None:
        """Let `layer` read raw observations: fold (x - mean) / std into its weights.

        The fold is done in float64, where an offset of the observations costs no precision. Per step only the clipping
        to +-`clip` standard deviations is left.

        Args:
            layer: the first layer.
            mean: [n] float64.
            std: [n] float64.
            clip: in standard deviations.
        """
        w, b = np.split(self.matrices[layer].astype(np.float64), [-1])
        self.matrices[layer] = np.vstack([w / std[:, None], b - (mean / std) @ w])
        self.x, self.features = self._bias_buffer(len(mean), np.float64)
        self.low = mean - clip * std
        self.high = mean + clip * std
        self.normalized_layer = layer

    def load_input(self, ob: np.ndarray) -> np.ndarray:
        """Copy an observation into the first layer's input buffer, clipped if normalisation is folded in, and return
        the buffer.
        """
        if self.normalized_layer is None:
            self.features[...] = ob
        else:  # np.clip with `out` takes 0.9 microseconds longer per acting step than these two calls
            np.maximum(ob, self.low, out=self.features)
            np.minimum(self.features, self.high, out=self.features)
        return self.x

    def dense(self, x: np.ndarray, layer: str) -> np.ndarray:
        """Return x W + b in float32; `x` carries a last column of 1, which multiplies b."""
        y: np.ndarray = x.dot(self.matrices[layer])
        return y if layer != self.normalized_layer else y.astype(np.float32)

    def with_bias(self, x: np.ndarray) -> np.ndarray:
        """Return `x` [*batch_shape, m] followed by the constant 1 for the next layer's bias; valid until the next call.

        All calls must have the same m.
        """
        if self.joined is None:
            self.joined = self._bias_buffer(x.shape[-1], np.float32)
        self.joined[1][...] = x
        return self.joined[0]

    def hidden_layer(self, x: np.ndarray, layer: str) -> np.ndarray:
        """Return the activation of `dense`, followed by the constant 1 for the next layer's bias.

        It is valid until the next call.
        """
        buffer, features = self.hidden[layer]
        product = x.dot(self.matrices[layer])
        if layer == self.normalized_layer:
            features[...] = product  # a ufunc that casts takes four times as long as a copy that casts
            product = features
        if self.scales and layer in self.scales:
            product = normalise_layer(NumpyFunctions, product, *self.scales[layer])
        self.activate(product, features)
        return buffer
