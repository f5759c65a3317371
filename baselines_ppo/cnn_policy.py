"""`CnnPolicy`: one convolutional network for policy and value, over images: Nature's (Mnih et al. 2015) or A3C's (Mnih
et al. 2016).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_ppo.config.policy_settings import OLDER_CNN, CnnPolicySettings
from common import seeding
from common.distributions import DiagGaussianPdType, make_pdtype
from common.errors import UserError
from common.formatting import describe_space
from common.hints import CHOOSE_CHANNELS, USE_MLP
from common.policies.base import Policy
from common.policies.initializers import check_init, initialize_weights
from common.policies.observation_encoder import is_image
from common.runtime.memory import check_memory
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


def channel_axis(space: gym.spaces.Box, convolutions: Sequence[Convolution], channels: str | None = None) -> str:
    """Return 'first' if images are [C, H, W], as from Gymnasium's frame stack, or 'last' if they are [H, W, C].

    Args:
        space: of the images.
        convolutions: of the network.
        channels: 'first' or 'last'. 'smaller': the smaller of the two axes, or the last if they are equal. None: the
            smaller axis if it has too few entries to be pixels.

    Raises:
        UserError: for any other value, and for None if both axes could be pixels.
    """
    if channels is not None and check_choice("channels", channels, CHANNELS) != "smaller":
        return channels
    first, _, last = space.shape
    if channels is None and min(first, last) >= min_pixels(convolutions):
        raise UserError(
            f"images of {space.shape} may have {first} channels first or {last} channels last; {CHOOSE_CHANNELS}, or "
            f"{USE_MLP}"
        )
    return "first" if first < last else "last"


class CnnPolicy(Policy):
    """Baselines' CnnPolicy. Images are uint8 [H, W, C], or [C, H, W] as from Gymnasium's frame stack.

    Args:
        name: 'pi' or 'oldpi'.
        ob_space: a Box of rank 3 and dtype uint8, of at least 36 x 36 pixels, or 20 x 20 for the small network.
        ac_space: any action space; the log std of a Gaussian is a free variable.
        kind: 'large' (Mnih et al. 2015, https://doi.org/10.1038/nature14236) or 'small' (the network of A3C, Mnih et
            al. 2016, https://arxiv.org/abs/1602.01783).
        init: 'normc' (Baselines') or 'orthogonal'.
        init_logstd: initial log std of a Gaussian.
        channels: which axis of an image holds the channels: 'first', 'last', 'smaller' or None, see `channel_axis`.

    Raises:
        UserError: if the observations are not such images, for an invalid setting, or a network larger than this
            machine's memory.
    """

    network_is_pure = True
    legacy_defaults = OLDER_CNN
    metrics_rows = 256  # evaluating a whole segment takes a twelfth of the time of four epochs on it

    def __init__(
        self,
        name: str,
        ob_space: gym.Space[Any],
        ac_space: gym.Space[Any],
        kind: str = CnnPolicySettings.kind,
        *,
        init: str = CnnPolicySettings.init,
        init_logstd: float = CnnPolicySettings.init_logstd,
        channels: str | None = CnnPolicySettings.channels,
    ) -> None:
        shapes = self.variable_shapes(ob_space, ac_space, kind, channels=channels)
        check_init(init, init_logstd)
        check_memory(4 * sum(map(math.prod, shapes.values())), f"images of {ob_space.shape}: the network")
        super().__init__(name, ob_space, ac_space)
        self.kind = kind
        self.init = init
        self.init_logstd = float(init_logstd)
        # on a CPU, XLA's convolutions are slower than TensorFlow's; on a GPU, its fused ones are faster
        self.xla = bool(tf.config.list_physical_devices("GPU"))
        # on a CPU, two halves computed concurrently take 0.85 of the time of one minibatch: each uses cores that the
        # other leaves idle
        self.num_microbatches = 1 if self.xla else 2
        self.convolutions, _ = ARCHITECTURES[kind]
        assert isinstance(ob_space, gym.spaces.Box)
        self.channels_first = channel_axis(ob_space, self.convolutions, channels) == "first"
        self.free_logstd = "pol/logstd" in shapes
        self.weights = {key: tf.Variable(tf.zeros(shape), name=key) for key, shape in shapes.items()}
        self.initialise(seeding.generator(0, seeding.INITIALISE))

    @classmethod
    def variable_shapes(
        cls,
        ob_space: gym.Space[Any],
        ac_space: gym.Space[Any],
        kind: str = CnnPolicySettings.kind,
        *,
        channels: str | None = CnnPolicySettings.channels,
        **others: Any,
    ) -> dict[str, list[int]]:
        """Return {name: shape} of the weights, as `Policy.variable_shapes` does.

        Args:
            ob_space: as in the constructor, like all other arguments.
            others: settings that do not change the shapes.

        Raises:
            UserError: for observations that are not such images, or an invalid setting.
        """
        if not isinstance(ob_space, gym.spaces.Box) or not is_image(ob_space) or ob_space.dtype != np.uint8:
            raise UserError(
                f"CnnPolicy needs images, a Box of rank 3 and dtype uint8, not {describe_space(ob_space)}; {USE_MLP}"
            )
        convolutions, dense = ARCHITECTURES[check_choice("kind", kind, ARCHITECTURES)]
        axis = channel_axis(ob_space, convolutions, channels)
        if axis == "first":
            num_channels, *pixels = ob_space.shape
        else:
            *pixels, num_channels = ob_space.shape
        shapes: dict[str, list[int]] = {}
        for i, layer in enumerate(convolutions, 1):
            pixels = [(n - layer.kernel) // layer.stride + 1 for n in pixels]
            if min(pixels) < 1:
                size = min_pixels(convolutions)
                raise UserError(
                    f"images of {ob_space.shape}, with their channels {axis}, are too small for the {kind!r} network; "
                    f"use at least {size} x {size} pixels, or {USE_MLP}"
                )
            shapes |= {
                f"conv{i}/w": [layer.kernel, layer.kernel, num_channels, layer.filters],
                f"conv{i}/b": [layer.filters],
            }
            num_channels = layer.filters
        pdtype = make_pdtype(ac_space)
        is_gaussian = isinstance(pdtype, DiagGaussianPdType)
        outputs = pdtype.param_shape()[0] // (2 if is_gaussian else 1)
        shapes |= {
            "fc/w": [num_channels * math.prod(pixels), dense],
            "fc/b": [dense],
            "pol/final/w": [dense, outputs],
            "pol/final/b": [outputs],
            "vf/final/w": [dense, 1],
            "vf/final/b": [1],
        }
        return shapes | ({"pol/logstd": [outputs]} if is_gaussian else {})

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments that build this network again; `channels` is 'first' or 'last', as it was
        determined.
        """
        return {
            "kind": self.kind,
            "init": self.init,
            "init_logstd": self.init_logstd,
            "channels": "first" if self.channels_first else "last",
        }

    def initialise(self, rng: np.random.Generator) -> None:
        """Draw new weights from a NumPy generator; biases are zero."""
        initialize_weights(self.weights, rng, self.init, self.init_logstd)

    def forward(self, ob: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return (flatparam [N, p], vpred [N]), float32, at images [N, H, W, C] or [N, C, H, W] uint8."""
        return self.network(self.weights, ob)

    def network(self, weights: Mapping[str, tf.Variable], ob: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Compute `forward` over other weights.

        Args:
            weights: {name: variable}, with the names and shapes of `variable_shapes`.
            ob: [N, H, W, C] or [N, C, H, W] uint8; divided by 255.

        Returns:
            (flatparam [N, p], vpred [N]), float32.
        """
        w = weights
        x = tf.cast(ob, tf.float32) / 255.0
        if self.channels_first:
            x = tf.transpose(x, [0, 2, 3, 1])  # TensorFlow's CPU convolutions support channels last only
        for i, layer in enumerate(self.convolutions, 1):
            x = tf.nn.relu(tf.nn.conv2d(x, w[f"conv{i}/w"], layer.stride, "VALID") + w[f"conv{i}/b"])
        x = tf.nn.relu(tf.matmul(tf.reshape(x, [-1, w["fc/w"].shape[0]]), w["fc/w"]) + w["fc/b"])
        flat = tf.matmul(x, w["pol/final/w"]) + w["pol/final/b"]
        if self.free_logstd:
            flat = tf.concat([flat, tf.broadcast_to(w["pol/logstd"], tf.shape(flat))], -1)
        return flat, (tf.matmul(x, w["vf/final/w"]) + w["vf/final/b"])[:, 0]
