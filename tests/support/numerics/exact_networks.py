"""Networks' outputs in float64 from their weights by name, each with an error bound that holds for float32 on any processor."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tolerance import LIBM, PERTURBED, gamma, likely, ulps


class Bounded(NamedTuple):
    """A value in float64, and how far its float32 counterpart may be from it, entry by entry."""

    value: np.ndarray
    error: np.ndarray

    def at(self, *where):
        return Bounded(self.value[where], self.error[where])


def dense(x, w, b):
    """A dense layer, [N, n] to [N, m], at its worst: the input's error times |w|, and gamma of n products and the bias."""
    size = (np.abs(x.value) + x.error) @ np.abs(w) + np.abs(b)
    return Bounded(x.value @ w + b, x.error @ np.abs(w) + gamma(len(w) + 1 + PERTURBED) * size)


def long_sum(x, product, w, b, count):
    """product(x, w) + b, of `count` products: like `dense`, for independent errors, whose squares add up.

    `likely` assumes partial sums as large as those of |x| |w|, about ten times their true size. The margin covers errors that
    are not quite independent.
    """
    size = product(np.abs(x.value), np.abs(w)) + np.abs(b)
    return Bounded(product(x.value, w) + b, np.sqrt(product(x.error**2, w**2)) + likely(count + 1 + PERTURBED) * size)


def tanh(x):
    """The input's error times the steepest slope within it, and the library's."""
    slope = 1 - np.tanh(np.maximum(np.abs(x.value) - x.error, 0)) ** 2
    return Bounded(np.tanh(x.value), slope * x.error + ulps(LIBM, 1))


def relu(x):
    return Bounded(np.maximum(x.value, 0), x.error)


def mlp(pi, ob, prepared=False, input_ulps=0.5):
    """(flatparam, vpred) of an MlpPolicy at observations [N, n], `Bounded`.

    Args:
        prepared: `ob` is what `pi.prepare` gave.
        input_ulps: error of the float32 input, in ulps of a number of at least 1; the default is one rounding.
    """
    w = {key: v.numpy().astype(np.float64) for key, v in pi.weights.items()}
    raw = pi.normalise_ob and not prepared
    x = np.clip((ob - pi.ob_rms.mean) / pi.ob_rms.std, -pi.ob_clip, pi.ob_clip) if raw else np.float64(ob)
    x = Bounded(x, ulps(input_ulps, np.maximum(np.abs(x), 1)))

    def hidden(net):
        h = x
        for i in range(1, pi.num_hid_layers + 1):
            h = tanh(dense(h, w[f"{net}/fc{i}/w"], w[f"{net}/fc{i}/b"]))
        return h

    flat = dense(hidden("pol"), w["pol/final/w"], w["pol/final/b"])
    if "pol/logstd" in w:  # as it is
        flat = Bounded(
            *(
                np.concatenate([part, np.broadcast_to(own, part.shape)], axis=1)
                for part, own in zip(flat, (w["pol/logstd"], 0.0))
            )
        )
    return flat, dense(hidden("pol" if pi.shared_trunk else "vf"), w["vf/final/w"], w["vf/final/b"]).at(slice(None), 0)


def convolutions(images, weights, obs):
    """Features of an `ImageNetwork` over images [N, ...] with channels, `Bounded`."""
    w = {key.removeprefix(images.prefix): v.numpy().astype(np.float64) for key, v in weights.items()}
    x = obs.astype(np.float64) / 255
    x = x.transpose(0, 2, 3, 1) if images.channels_first else x
    x = Bounded(x, ulps(0.5, x))
    for i, layer in enumerate(images.convolutions, 1):
        kernel = w[f"conv{i}/w"]
        x = relu(
            long_sum(
                x,
                lambda x, w, stride=layer.stride: tf.nn.conv2d(x, w, stride, "VALID").numpy(),
                kernel,
                w[f"conv{i}/b"],
                kernel[..., 0].size,
            )
        )
    x = Bounded(*(part.reshape(len(obs), -1) for part in x))
    return relu(long_sum(x, np.matmul, w["fc/w"], w["fc/b"], len(w["fc/w"])))


def cnn(pi, obs):
    """(flatparam, vpred) of a CnnPolicy at images [N, ...], `Bounded`."""
    w = {key: v.numpy().astype(np.float64) for key, v in pi.weights.items()}
    x = convolutions(pi.images, pi.weights, obs)
    flat = long_sum(x, np.matmul, w["pol/final/w"], w["pol/final/b"], len(w["pol/final/w"]))
    if "pol/logstd" in w:
        flat = Bounded(
            *(
                np.concatenate([part, np.broadcast_to(own, part.shape)], axis=1)
                for part, own in zip(flat, (w["pol/logstd"], 0.0))
            )
        )
    return flat, long_sum(x, np.matmul, w["vf/final/w"], w["vf/final/b"], len(w["vf/final/w"])).at(slice(None), 0)


def gaussian_sample(pdtype, flat, noise):
    """mean + std * noise of a Gaussian's `flat`, `Bounded`: exp magnifies the log std's error, and two roundings follow."""
    mean, logstd = (Bounded(*parts) for parts in zip(*(np.split(part, 2, axis=-1) for part in flat)))
    spread = np.exp(logstd.value) * np.abs(noise)
    error = mean.error + spread * (np.expm1(logstd.error) + ulps(LIBM + 1, 1)) + ulps(1, mean.value)
    return Bounded(*(pdtype.to_space_shape(part) for part in (mean.value + np.exp(logstd.value) * noise, error)))


def assert_within(found, bounded, beside=0.0):
    """`found` is the bounded value in float32; `beside` is more that it may be off by, such as another float32 number's own error."""
    np.testing.assert_array_less(
        np.abs(np.asarray(found, np.float64) - bounded.value), bounded.error + beside + np.finfo(np.float32).tiny
    )
