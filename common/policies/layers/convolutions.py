"""Convolutional networks over images: Nature's (Mnih et al. 2015) or A3C's (Mnih et al. 2016)."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import gymnasium as gym
import numpy as np
import tensorflow as tf

from common.errors import UserError
from common.hints import CHOOSE_CHANNELS, SET_CHANNELS, USE_MLP, USE_SMALL_CNN
from common.policies.layers.precision import rounding
from common.validation import check_choice


@dataclass(frozen=True)
class Convolution:
    """One convolutional layer.

    Attributes:
        filters: number of output channels.
        kernel: height and width of the kernel, in pixels.
        stride: in pixels.
    """

    filters: int
    kernel: int
    stride: int


# kind -> (convolutions, width of the dense layer)
ARCHITECTURES: dict[str, tuple[list[Convolution], int]] = {
    "large": ([Convolution(32, 8, 4), Convolution(64, 4, 2), Convolution(64, 3, 1)], 512),
    "small": ([Convolution(16, 8, 4), Convolution(32, 4, 2)], 256),
}
CHANNELS = ("first", "last", "smaller")


def min_pixels(convolutions: Sequence[Convolution]) -> int:
    """Return the smallest height and width of images that the convolutions accept."""
    return functools.reduce(lambda n, layer: (n - 1) * layer.stride + layer.kernel, reversed(convolutions), 1)


def channel_axis(
    space: gym.spaces.Box,
    convolutions: Sequence[Convolution],
    channels: str | None = None,
    what: str | None = None,
    choose: str = CHOOSE_CHANNELS,
) -> str:
    """Return 'first' if images are [C, H, W], as from Gymnasium's frame stack, or 'last' if they are [H, W, C].

    Args:
        space: of the images.
        convolutions: of the network.
        channels: 'first' or 'last'. 'smaller': the smaller of the two axes, or the last if they are equal. None: the
            smaller axis if it has too few entries to be pixels.
        what: what an error calls the images.
        choose: its advice how to set the axis.

    Raises:
        UserError: for any other value, and for None if both axes could be pixels.
    """
    if channels is not None and check_choice("channels", channels, CHANNELS) != "smaller":
        return channels
    first, _, last = space.shape
    if channels is None and min(first, last) >= min_pixels(convolutions):
        raise UserError(
            f"{what or f'images of {space.shape}'} may have {first} channels first or {last} channels last; {choose}, "
            f"or {USE_MLP}"
        )
    return "first" if first < last else "last"


@dataclass(frozen=True)
class ImageNetwork:
    """A convolutional network over one image of the observation.

    Attributes:
        shape: of an image: [H, W], with channels [H, W, C] or [C, H, W], or such images of several frames along a first
            axis.
        kind: a key of `ARCHITECTURES`.
        channels_first: whether the channels are the first axis of an image.
        prefix: of the variables' names.
        precision: 'float32' or 'bfloat16', of the products; variables, their gradients and the features are float32.
    """

    shape: tuple[int, ...]
    kind: str
    channels_first: bool
    prefix: str = ""
    precision: str = "float32"

    @classmethod
    def of(
        cls,
        space: gym.spaces.Box,
        kind: str,
        channels: str | None,
        prefix: str = "",
        precision: str = "float32",
    ) -> ImageNetwork:
        """Return the network for images of a space; `channels` as for `channel_axis`.

        Raises:
            UserError: if the images are too small, or if it is not clear which axis holds the channels.
        """
        convolutions, _ = ARCHITECTURES[check_choice("kind", kind, ARCHITECTURES)]
        name = prefix.removesuffix("/")
        what = f"images {name!r} of {space.shape}" if name else f"images of {space.shape}"
        choose = f"{SET_CHANNELS} {name}=first or {name}=last" if name else CHOOSE_CHANNELS
        channels_first = False
        if len(space.shape) > 2:
            image = space if len(space.shape) == 3 else gym.spaces.Box(0, 255, space.shape[1:], np.uint8)
            channels_first = channel_axis(image, convolutions, channels, what, choose) == "first"
        network = cls(tuple(space.shape), kind, channels_first, prefix, precision)
        size = min_pixels(convolutions)
        if min(network._pixels()) < size:
            axis = "first" if channels_first else "last"
            other = USE_MLP
            if min(network._pixels()) >= min_pixels(ARCHITECTURES["small"][0]):
                other = f"{USE_SMALL_CNN}, or {USE_MLP}"
            turned = replace(network, channels_first=not channels_first)
            if len(space.shape) > 2 and min(turned._pixels()) >= size:
                other = (
                    f"{SET_CHANNELS} {f'{name}=' if name else ''}{'last' if channels_first else 'first'}, or {other}"
                )
            raise UserError(
                f"{what}, with their channels {axis}, are too small for the {kind!r} network; "
                f"use at least {size} x {size} pixels, or {other}"
            )
        return network

    def _pixels(self) -> tuple[int, ...]:
        """Height and width."""
        if len(self.shape) == 2:
            return self.shape
        return self.shape[-2:] if self.channels_first else self.shape[-3:-1]

    @property
    def convolutions(self) -> list[Convolution]:
        """The convolutional layers."""
        return ARCHITECTURES[self.kind][0]

    @property
    def outputs(self) -> int:
        """Number of features."""
        return ARCHITECTURES[self.kind][1]

    def shapes(self) -> dict[str, list[int]]:
        """Return {name: shape} of the variables."""
        convolutions, dense = ARCHITECTURES[self.kind]
        pixels = list(self._pixels())
        num_channels = math.prod(self.shape) // math.prod(pixels)
        shapes: dict[str, list[int]] = {}
        for i, layer in enumerate(convolutions, 1):
            pixels = [(n - layer.kernel) // layer.stride + 1 for n in pixels]
            shapes |= {
                f"{self.prefix}conv{i}/w": [layer.kernel, layer.kernel, num_channels, layer.filters],
                f"{self.prefix}conv{i}/b": [layer.filters],
            }
            num_channels = layer.filters
        return shapes | {
            f"{self.prefix}fc/w": [num_channels * math.prod(pixels), dense],
            f"{self.prefix}fc/b": [dense],
        }

    def features(self, w: Mapping[str, tf.Variable], images: tf.Tensor) -> tf.Tensor:
        """Return the features [N, outputs] of images [N, *shape] uint8, which are divided by 255."""
        rounded, add_bias = rounding(self.precision)
        x = rounded(self._channels_last(tf.cast(images, tf.float32) / 255.0))
        for i, layer in enumerate(self.convolutions, 1):
            product = tf.nn.conv2d(x, rounded(w[f"{self.prefix}conv{i}/w"]), layer.stride, "VALID")
            x = tf.nn.relu(add_bias(product, w[f"{self.prefix}conv{i}/b"]))
        dense = w[f"{self.prefix}fc/w"]
        product = tf.matmul(tf.reshape(x, [-1, dense.shape[0]]), rounded(dense))
        return tf.cast(tf.nn.relu(add_bias(product, w[f"{self.prefix}fc/b"])), tf.float32)

    def _channels_last(self, x: tf.Tensor) -> tf.Tensor:
        """Return [N, H, W, channels of all frames]: TensorFlow's CPU convolutions support channels last only."""
        if len(self.shape) == 2:
            return x[..., None]
        if len(self.shape) == 3:
            return tf.transpose(x, [0, 2, 3, 1]) if self.channels_first else x
        x = tf.transpose(x, [0, 3, 4, 1, 2] if self.channels_first else [0, 2, 3, 1, 4])
        height, width = self._pixels()
        return tf.reshape(x, [-1, height, width, x.shape[3] * x.shape[4]])
