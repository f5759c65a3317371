"""LSTM and GRU cells against Keras' layers, and sequences against the same episodes one by one."""

import numpy as np
import pytest
import tensorflow as tf

from common.policies.layers.memory_cells import EPSILON, MAX_UNROLLED, MemoryCell, NumpyFunctions

INPUTS, UNITS, ROWS = 5, 7, 3
LENGTHS = (1, MAX_UNROLLED, 12)  # a single step, the longest unrolled sequence, one of the loop
# Relative error of a float32 result: each of the L steps rounds sums of INPUTS + UNITS products and a few functions, whose
# derivatives are at most 1.
TOLERANCE = {"rtol": 1e-4, "atol": 12 * (INPUTS + UNITS + 8) * 2.0**-24}

kinds = pytest.mark.parametrize("kind", ["lstm", "gru"])


def random_weights(cell, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: tf.Variable(rng.standard_normal(shape).astype(np.float32) * 0.5)
        for name, shape in cell.shapes(INPUTS).items()
    }


def inputs(length, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((ROWS, length, INPUTS)).astype(np.float32)


def keras_layer(cell, w):
    """Keras' layer with the same weights."""
    layers = tf.keras.layers
    if cell.kind == "lstm":
        layer = layers.LSTM(UNITS, return_sequences=True)
        values = [w["memory/x/w"], w["memory/h/w"], w["memory/x/b"]]
    else:
        layer = layers.GRU(UNITS, return_sequences=True, reset_after=True)
        values = [w["memory/x/w"], w["memory/h/w"], tf.stack([w["memory/x/b"], w["memory/h/b"]])]
    layer.build((None, None, INPUTS))
    layer.set_weights([x.numpy() for x in values])
    return layer


def run(cell, w, x, start=None, state=None, jit=True):
    start = np.zeros(x.shape[:2], bool) if start is None else start
    state = np.zeros((len(x), cell.state_size), np.float32) if state is None else state
    function = tf.function(lambda *args: cell.run(w, *args), jit_compile=jit, autograph=False)
    return function(tf.constant(x), tf.constant(start), tf.constant(state)).numpy()


@kinds
@pytest.mark.parametrize("length", LENGTHS)
def test_outputs_and_gradients_are_those_of_keras(kind, length):
    cell = MemoryCell(kind, UNITS)
    w, x = random_weights(cell), inputs(length)
    layer = keras_layer(cell, w)
    with tf.GradientTape() as own_tape:
        states = cell.run(w, tf.constant(x), tf.zeros(x.shape[:2], tf.bool), tf.zeros((ROWS, cell.state_size)))
        own = states[..., :UNITS]
        own_loss = tf.reduce_sum(tf.sin(own))
    with tf.GradientTape() as keras_tape:
        theirs = layer(tf.constant(x))
        their_loss = tf.reduce_sum(tf.sin(theirs))
    np.testing.assert_allclose(own, theirs, **TOLERANCE)
    names = ["memory/x/w", "memory/h/w", "memory/x/b", *(["memory/h/b"] if kind == "gru" else [])]
    own_gradients = own_tape.gradient(own_loss, [w[name] for name in names])
    their_gradients = keras_tape.gradient(their_loss, layer.trainable_variables)
    if kind == "gru":
        their_gradients = [*their_gradients[:2], *tf.unstack(their_gradients[2])]
    for a, b in zip(own_gradients, their_gradients):
        # a gradient sums over rows and steps
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=ROWS * length * TOLERANCE["atol"])


@kinds
@pytest.mark.parametrize("layer_norm", [False, True])
def test_episodes_inside_a_sequence_are_those_run_one_by_one(kind, layer_norm):
    cell = MemoryCell(kind, UNITS, layer_norm)
    w, x = random_weights(cell), inputs(12)
    start = np.zeros((ROWS, 12), bool)
    starts = [[0, 5], [3], []]
    for row, steps in enumerate(starts):
        start[row, steps] = True
    first = np.random.default_rng(2).standard_normal((ROWS, cell.state_size)).astype(np.float32)
    together = run(cell, w, x, start, first)
    for row, steps in enumerate(starts):
        bounds = sorted({0, 12, *steps})
        for begin, end in zip(bounds, bounds[1:]):
            state = np.zeros((1, cell.state_size), np.float32) if begin in steps else first[row : row + 1]
            alone = run(cell, w, x[row : row + 1, begin:end], None, state)
            np.testing.assert_allclose(together[row, begin:end], alone[0], **TOLERANCE)


@kinds
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("jit", [False, True])
def test_steps_in_numpy_are_those_of_tensorflow(kind, layer_norm, jit):
    cell = MemoryCell(kind, UNITS, layer_norm)
    w, x = random_weights(cell), inputs(12)
    arrays = {name: v.numpy() for name, v in w.items()}
    states = run(cell, w, x, jit=jit)
    state = np.zeros((ROWS, cell.state_size), np.float32)
    for t in range(12):
        state = cell.step(NumpyFunctions, arrays, cell.project(NumpyFunctions, arrays, x[:, t]), state)
        assert state.dtype == np.float32
        np.testing.assert_allclose(state, states[:, t], **TOLERANCE)


def test_layer_normalisation_by_hand():
    """One step of an LSTM from a zero state, in float64, by the equations of Ba et al. 2016."""
    cell = MemoryCell("lstm", UNITS, layer_norm=True)
    w, x = random_weights(cell), inputs(1)
    v = {name.removeprefix("memory/"): value.numpy().astype(np.float64) for name, value in w.items()}

    def normalised(a, name):
        a = (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + EPSILON)
        return a * v[f"{name}/scale"] + v[f"{name}/offset"]

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    gates = normalised(x[:, 0] @ v["x/w"], "x") + v["x/b"] + normalised(np.zeros((ROWS, UNITS)) @ v["h/w"], "h")
    i, _, g, o = np.split(gates, 4, axis=-1)
    c = sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(normalised(c, "c"))
    np.testing.assert_allclose(run(cell, w, x)[:, 0], np.concatenate([h, c], axis=-1), rtol=1e-4, atol=1e-5)


@kinds
def test_the_gradient_reaches_the_first_step_and_not_beyond_a_start(kind):
    cell = MemoryCell(kind, UNITS)
    w, x = random_weights(cell), tf.constant(inputs(12))
    for begins, reaches in (([], True), ([6], False)):
        start = np.zeros((ROWS, 12), bool)
        start[:, begins] = True
        with tf.GradientTape() as tape:
            tape.watch(x)
            last = cell.run(w, x, tf.constant(start), tf.zeros((ROWS, cell.state_size)))[:, -1]
        gradient = tape.gradient(last, x).numpy()
        assert (gradient[:, 0] != 0).any() == reaches and (gradient[:, 6] != 0).any()
