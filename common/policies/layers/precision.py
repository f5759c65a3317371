"""Half precision of convolutional networks: products of bfloat16, added in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from common.runtime.cpu import cpu_flags
from common.validation import check_choice

PRECISIONS = ("float32", "bfloat16", "auto")
FLAGS = frozenset({"avx512_bf16", "amx_bf16"})  # instructions that multiply pairs of bfloat16 and add in float32
MIN_GPU = (8, 0)  # compute capability of NVIDIA's first tensor cores for bfloat16


def choose_precision(precision: str) -> str:
    """Return 'float32' or 'bfloat16' for a setting.

    Args:
        precision: 'float32', 'bfloat16', or 'auto': bfloat16 if TensorFlow's device multiplies in it, else float32.

    Raises:
        UserError: for any other value.
    """
    if check_choice("precision", precision, PRECISIONS) != "auto":
        return precision
    return "bfloat16" if multiplies_in_bfloat16() else "float32"


def multiplies_in_bfloat16() -> bool:
    """Whether all visible GPUs, or without one the processor, have instructions for products in bfloat16."""
    if gpus := tf.config.list_physical_devices("GPU"):
        details = map(tf.config.experimental.get_device_details, gpus)
        return all(detail.get("compute_capability", (0, 0)) >= MIN_GPU for detail in details)
    return bool(FLAGS & cpu_flags())


def rounding(
    precision: str,
) -> tuple[Callable[[Any], tf.Tensor], Callable[[tf.Tensor, tf.Variable], tf.Tensor]]:
    """Return how factors are rounded to a precision, and how a bias is added to their product.

    Products of bfloat16 are added in float32 on every machine. Where the processor has no instructions for that,
    TensorFlow would add in bfloat16, with 8 significant bits, and slowly. There, the factors are rounded to bfloat16,
    and their product is computed in float32.

    Args:
        precision: 'float32' or 'bfloat16'.

    Returns:
        (function of a tensor or variable, function of a product [..., n] and a bias [n] float32).
    """
    if precision == "float32":
        return lambda x: x, lambda product, bias: product + bias
    if multiplies_in_bfloat16():
        return _to_bfloat16, lambda product, bias: _add_bias(product, tf.convert_to_tensor(bias))
    return _rounded, lambda product, bias: _rounded(_rounded(product) + _rounded(bias))


def _to_bfloat16(x: Any) -> tf.Tensor:
    return tf.cast(x, tf.bfloat16)


def _rounded(x: Any) -> tf.Tensor:
    """Return float32 with the values of bfloat16."""
    return tf.cast(tf.cast(x, tf.bfloat16), tf.float32)


@tf.custom_gradient
def _add_bias(product: tf.Tensor, bias: tf.Tensor) -> Any:
    """Add a bias float32 to a product in bfloat16.

    The gradient of the bias is a sum over samples and pixels. TensorFlow computes it in bfloat16, where a sum of ones
    stops at 256; here it is in float32.
    """

    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        axes = list(range(upstream.shape.rank - 1))
        return upstream, tf.reduce_sum(tf.cast(upstream, tf.float32), axes)

    return tf.nn.bias_add(product, _to_bfloat16(bias)), gradients
