"""Policies whose values, gradients or second derivatives are not finite, and the error of training one."""

import numpy as np
import pytest
import tensorflow as tf
from small_policies import TinyMlp, train_tiny

from common.errors import NonFiniteError


def failure(*args, **kwargs):
    with pytest.raises(NonFiniteError) as caught:
        train_tiny(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return caught.value


class Breaks(TinyMlp):
    """Its value is NaN once `broken` is set; `breaks_at_2` sets it from iteration 2 on."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.broken = tf.Variable(0.0, trainable=False)

    def forward(self, ob):
        flat, vpred = super().forward(ob)
        return flat, tf.where(self.broken > 0, np.nan, vpred)


def breaks_at_2(names, _):
    names["pi"].broken.assign(float(names["iters_so_far"] >= 2))


class InfiniteGradient(TinyMlp):
    """Its loss is finite, but the gradient is not: that of a square root at 0."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.one = tf.Variable(1.0)

    def forward(self, ob):
        flat, vpred = super().forward(ob)
        return flat, vpred + tf.sqrt(0.0 * self.one)


class Sharp(TinyMlp):
    """Its KL and the gradient are finite, but TRPO's Fisher matrix, which has the square of the derivative, is not."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.one = tf.Variable(1.0)

    def forward(self, ob):
        flat, vpred = super().forward(ob)
        return flat + 1e25 * (self.one - 1.0) * tf.one_hot(0, flat.shape[-1]), vpred
