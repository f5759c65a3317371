"""LSTM and GRU cells, over a policy's variables: whole sequences in TensorFlow, single steps in NumPy.

Both follow the equations and the order of gates of Keras' layers:

- LSTM (Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735, with the forget gate of Gers et al.
  2000, https://doi.org/10.1162/089976600300015015): i, f, g, o = x W + h U + b;
  c' = sigmoid(f) c + sigmoid(i) tanh(g); h' = sigmoid(o) tanh(c'). The state is [h, c].
- GRU (Cho et al. 2014, https://arxiv.org/abs/1406.1078, version 1, with the reset gate after the product):
  z, r = sigmoid of the first two thirds of x W + b + h U + d; g = tanh of the last third, where r multiplies h U + d;
  h' = z h + (1 - z) g. The state is h.
- With layer normalisation (Ba et al. 2016, https://arxiv.org/abs/1607.06450, equations 20 to 22), x W and h U are
  normalised separately, and in an LSTM also c' before its tanh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

CELLS = ("lstm", "gru")
MAX_UNROLLED = 4  # steps of a sequence that are written one after the other in the graph
EPSILON = 1e-5  # of layer normalisation

Array = Any  # np.ndarray or tf.Tensor


class TensorFlowFunctions:
    """The functions that a cell needs, on tensors."""

    tanh: Callable[..., Array] = staticmethod(tf.tanh)
    sigmoid: Callable[..., Array] = staticmethod(tf.sigmoid)
    matmul: Callable[..., Array] = staticmethod(tf.matmul)
    concatenate: Callable[..., Array] = staticmethod(tf.concat)
    rsqrt: Callable[..., Array] = staticmethod(tf.math.rsqrt)

    @staticmethod
    def split(x: Array, parts: int) -> Any:
        """Split the last axis into equal parts."""
        return tf.split(x, parts, axis=-1)

    @staticmethod
    def mean(x: Array) -> Array:
        """Return the mean over the last axis, which is kept."""
        return tf.reduce_mean(x, axis=-1, keepdims=True)


class NumpyFunctions:
    """The functions that a cell needs, on NumPy arrays."""

    tanh: Callable[..., Array] = staticmethod(np.tanh)
    matmul: Callable[..., Array] = staticmethod(np.matmul)
    concatenate: Callable[..., Array] = staticmethod(np.concatenate)

    @staticmethod
    def sigmoid(x: Array) -> Array:
        """Return 1 / (1 + exp(-x)), without overflow."""
        return np.float32(0.5) * (np.tanh(np.float32(0.5) * x) + np.float32(1))

    @staticmethod
    def rsqrt(x: Array) -> Array:
        """Return 1 / sqrt(x)."""
        return np.float32(1) / np.sqrt(x)

    @staticmethod
    def split(x: Array, parts: int) -> Any:
        """Split the last axis into equal parts."""
        return np.split(x, parts, axis=-1)

    @staticmethod
    def mean(x: Array) -> Array:
        """Return the mean over the last axis, which is kept."""
        return np.mean(x, axis=-1, keepdims=True)


Functions = type[TensorFlowFunctions] | type[NumpyFunctions]


def normalise_layer(functions: Functions, x: Array, scale: Array, offset: Array) -> Array:
    """Return (x - mean) / std over the last axis, times `scale`, plus `offset`."""
    centred = x - functions.mean(x)
    return centred * functions.rsqrt(functions.mean(centred * centred) + np.float32(EPSILON)) * scale + offset


class MemoryCell:
    """A recurrent layer.

    Args:
        kind: 'lstm' or 'gru'.
        size: H, number of units.
        layer_norm: whether to normalise layers.

    Attributes:
        state_size: entries of the state, H, or 2 H for an LSTM.
    """

    def __init__(self, kind: str, size: int, layer_norm: bool = False) -> None:
        self.kind = kind
        self.size = size
        self.layer_norm = layer_norm
        self.gates = 4 if kind == "lstm" else 3
        self.state_size = 2 * size if kind == "lstm" else size

    def shapes(self, inputs: int) -> dict[str, list[int]]:
        """Return {name: shape} of the variables for `inputs` inputs."""
        width = self.gates * self.size
        shapes = {"memory/x/w": [inputs, width], "memory/x/b": [width], "memory/h/w": [self.size, width]}
        if self.kind == "gru":
            shapes["memory/h/b"] = [width]
        if self.layer_norm:
            normalised = {"x": width, "h": width} | ({"c": self.size} if self.kind == "lstm" else {})
            for name, n in normalised.items():
                shapes |= {f"memory/{name}/scale": [n], f"memory/{name}/offset": [n]}
        return shapes

    def initial_biases(self) -> dict[str, np.ndarray]:
        """Return {name: values} of the biases that do not start at 0: an LSTM's forget gate starts open."""
        if self.kind != "lstm":
            return {}
        bias = np.zeros(4 * self.size, np.float32)
        bias[self.size : 2 * self.size] = 1
        return {"memory/x/b": bias}

    # ---- one step

    def project(self, functions: Functions, w: Mapping[str, Array], x: Array) -> Array:
        """Return the inputs' part of the gates, which does not depend on the state: [..., n] -> [..., gates * H]."""
        product = functions.matmul(x, w["memory/x/w"])
        return self._normalised(functions, w, product, "x") + w["memory/x/b"]

    def step(self, functions: Functions, w: Mapping[str, Array], gates: Array, state: Array) -> Array:
        """Return the next state [N, state_size] for `project`ed inputs [N, gates * H] and a state."""
        h = state[..., : self.size]
        recurrent = self._normalised(functions, w, functions.matmul(h, w["memory/h/w"]), "h")
        if self.kind == "gru":
            recurrent += w["memory/h/b"]
            (xz, xr, xg), (hz, hr, hg) = functions.split(gates, 3), functions.split(recurrent, 3)
            z = functions.sigmoid(xz + hz)
            g = functions.tanh(xg + functions.sigmoid(xr + hr) * hg)
            return z * h + (1 - z) * g
        i, f, g, o = functions.split(gates + recurrent, 4)
        c = functions.sigmoid(f) * state[..., self.size :] + functions.sigmoid(i) * functions.tanh(g)
        h = functions.sigmoid(o) * functions.tanh(self._normalised(functions, w, c, "c"))
        return functions.concatenate([h, c], axis=-1)

    def _normalised(self, functions: Functions, w: Mapping[str, Array], x: Array, name: str) -> Array:
        if not self.layer_norm:
            return x
        return normalise_layer(functions, x, w[f"memory/{name}/scale"], w[f"memory/{name}/offset"])

    # ---- sequences

    def run(self, w: Mapping[str, tf.Variable], x: tf.Tensor, start: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        """Return the states after each step of R sequences of L steps.

        Args:
            w: the variables, by the names of `shapes`.
            x: [R, L, n] float32.
            start: [R, L] bool, whether a step forgets the state before it.
            state: [R, state_size] float32, before the first step.

        Returns:
            [R, L, state_size] float32; the first `size` entries of a state are the layer's outputs.
        """
        # time first, so that a step of the loop reads and writes contiguous rows
        gates = tf.transpose(self.project(TensorFlowFunctions, w, x), [1, 0, 2])
        kept = tf.transpose(1 - tf.cast(start, tf.float32))[..., None]
        length = x.shape[1]

        def step(t: Any, state: tf.Tensor) -> tf.Tensor:
            return self.step(TensorFlowFunctions, w, gates[t], kept[t] * state)

        if length <= MAX_UNROLLED:
            states = []
            for t in range(length):
                state = step(t, state)
                states.append(state)
            return tf.stack(states, axis=1)

        def body(t: tf.Tensor, state: tf.Tensor, states: tf.TensorArray) -> tuple[Any, ...]:
            state = step(t, state)
            return t + 1, state, states.write(t, state)

        array = tf.TensorArray(tf.float32, length, element_shape=state.shape)
        loop = tf.while_loop(
            lambda t, *_: t < length, body, (0, state, array), parallel_iterations=1, maximum_iterations=length
        )
        return tf.transpose(loop[2].stack(), [1, 0, 2])
