"""Half precision of convolutional networks: where it is chosen, and how far it is from float32."""

import numpy as np
import pytest
import tensorflow as tf
from catch_env import images, random_images

from common.errors import UserError
from common.policies.layers import precision
from common.policies.layers.convolutions import ImageNetwork
from common.runtime import cpu

SPACE = images(36, 36, 2)
# a float32 that is rounded to bfloat16, with 8 significant bits, changes by at most this part of it
ROUNDING = 2.0**-9


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_bf16 fma\n", "bfloat16"),
        ("processor : 0\nflags : amx_tile amx_bf16\n\nprocessor : 1\nflags : amx_tile amx_bf16\n", "bfloat16"),
        ("flags\t\t: fpu avx2 avx512f\n", "float32"),
        ("Features : fp asimd bf16\n", "float32"),  # Arm: TensorFlow's wheels have no such kernels
        ("", "float32"),
        (None, "float32"),
    ],
)
def test_auto_takes_bfloat16_where_the_processor_multiplies_in_it(text, chosen, tmp_path, monkeypatch):
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(cpu, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert precision.choose_precision("auto") == chosen
    assert precision.choose_precision("float32") == "float32" and precision.choose_precision("bfloat16") == "bfloat16"


@pytest.mark.parametrize(
    ("capabilities", "chosen"), [([(9, 0)], "bfloat16"), ([(8, 0), (7, 5)], "float32"), ([None], "float32")]
)
def test_auto_asks_all_gpus_and_not_the_processor(capabilities, chosen, monkeypatch):
    details = [{} if one is None else {"compute_capability": one} for one in capabilities]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: list(range(len(details))))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", details.__getitem__)
    assert precision.choose_precision("auto") == chosen


@pytest.mark.parametrize("value", ["float16", "half", None, 16])
def test_other_values_are_refused(value):
    with pytest.raises(UserError, match="must be one of float32, bfloat16, auto"):
        precision.choose_precision(value)


def features_and_gradients(kind, name, x, weights, direction):
    network = ImageNetwork.of(SPACE, kind, None, precision=name)
    variables = {key: tf.Variable(w) for key, w in weights.items()}
    with tf.GradientTape() as tape:
        features = network.features(variables, x)
        loss = tf.reduce_sum(features * direction)
    gradients = tape.gradient(loss, list(variables.values()))
    assert features.dtype == tf.float32 and all(one.dtype == tf.float32 for one in gradients)
    return [features.numpy(), *(one.numpy() for one in gradients)]


@pytest.mark.parametrize("kind", ["small", "large"])
def test_features_and_gradients_differ_by_the_rounding_of_the_products(kind, monkeypatch):
    """Nothing is negative, so that no sum cancels and no ReLU cuts off: relative errors add up at most.

    Each layer rounds its factors, its product, its bias and their sum: five roundings forwards, and five backwards.
    """
    monkeypatch.setattr(precision, "multiplies_in_bfloat16", lambda: False)
    rng, network = np.random.default_rng(1), ImageNetwork.of(SPACE, kind, None)
    weights = {
        name: (rng.uniform(0.5, 1.5, shape) / max(1, np.prod(shape[:-1]))).astype(np.float32)
        for name, shape in network.shapes().items()
    }
    x, direction = random_images(SPACE, 4), rng.uniform(size=(4, network.outputs)).astype(np.float32)
    exact, rounded = (features_and_gradients(kind, name, x, weights, direction) for name in ("float32", "bfloat16"))
    limit = (1 + ROUNDING) ** (2 * 5 * (len(network.convolutions) + 1)) - 1
    for one, other in zip(exact, rounded):
        assert 0 < np.max(np.abs(one - other) / one) < limit


def test_products_are_added_in_float32_where_the_processor_cannot_multiply_in_bfloat16(monkeypatch):
    """4,096 products of ones: with sums in bfloat16 the result would be 256."""
    monkeypatch.setattr(precision, "multiplies_in_bfloat16", lambda: False)
    rounded, add_bias = precision.rounding("bfloat16")
    product = tf.matmul(rounded(tf.ones((1, 4096))), rounded(tf.ones((4096, 1))))
    assert add_bias(product, tf.Variable([0.0])).numpy() == 4096
    assert rounded(tf.constant(1 + ROUNDING / 2)) == 1


@pytest.mark.parametrize("native", [False, True])
def test_the_gradient_of_a_bias_is_summed_in_float32(native, monkeypatch):
    monkeypatch.setattr(precision, "multiplies_in_bfloat16", lambda: native)
    rounded, add_bias = precision.rounding("bfloat16")
    bias = tf.Variable(tf.zeros(3))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.cast(add_bias(rounded(tf.zeros((64, 20, 20, 3))), bias), tf.float32))
    np.testing.assert_array_equal(tape.gradient(total, bias), 64 * 20 * 20)


@pytest.mark.parametrize("kind", ["small", "large"])
def test_both_ways_compute_the_same_where_no_sum_is_rounded(kind, monkeypatch):
    """With weights and images of few bits, all sums are exact in both."""
    network, rng = ImageNetwork.of(SPACE, kind, None, precision="bfloat16"), np.random.default_rng(0)
    weights = {}
    for name, shape in network.shapes().items():  # one or no input of each unit has a weight
        w = np.zeros((int(np.prod(shape[:-1])), shape[-1]), np.float32)
        if name.endswith("/w"):
            w[rng.integers(len(w), size=shape[-1]), np.arange(shape[-1])] = rng.choice([0.5, 1, 2], shape[-1])
        weights[name] = w.reshape(shape)
    x = rng.choice(np.array([0, 255], np.uint8), (3, *SPACE.shape))
    direction = np.ones((3, network.outputs), np.float32)
    results = []
    for native in (False, True):
        monkeypatch.setattr(precision, "multiplies_in_bfloat16", lambda native=native: native)
        results.append(features_and_gradients(kind, "bfloat16", x, weights, direction))
    assert results[0][0].any()
    np.testing.assert_array_equal(*(found[0] for found in results))
