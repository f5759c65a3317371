"""`CnnPolicy`: one convolutional network for policy and value, over images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_ppo.config.policy_settings import OLDER_CNN, CnnPolicySettings
from baselines_ppo.networks.network_policy import Body, NetworkPolicy, Weights, make_cell
from common.distributions import make_pdtype
from common.errors import UserError
from common.formatting import describe_space
from common.hints import USE_MLP
from common.policies.inputs.masks import without_mask
from common.policies.layers.convolutions import ImageNetwork
from common.policies.layers.precision import choose_precision
from common.policies.observation_encoder import is_image


class CnnPolicy(NetworkPolicy):
    """Baselines' CnnPolicy. Images are uint8 [H, W, C], or [C, H, W] as from Gymnasium's frame stack.

    Args:
        name: 'pi' or 'oldpi'.
        ob_space: a Box of rank 3 and dtype uint8, of at least 36 x 36 pixels, or 20 x 20 for the small network.
        ac_space: any action space; the log std of a Gaussian is a free variable.
        kind: 'large' (Mnih et al. 2015, https://doi.org/10.1038/nature14236) or 'small' (the network of A3C, Mnih et
            al. 2016, https://arxiv.org/abs/1602.01783).
        init: 'normc' (Baselines') or 'orthogonal'.
        init_logstd: initial log std of a Gaussian.
        channels: which axis of an image holds the channels: 'first', 'last', 'smaller' or None, see
            `common.policies.layers.convolutions.channel_axis`.
        precision: of the products of convolutional and dense layers: 'float32', 'bfloat16', or 'auto', which is
            bfloat16 where the processor or the GPU has instructions for it. Variables, features, losses and
            distributions are float32.
        memory: 'lstm' or 'gru', between the convolutional network and the last layers; None for none.
        memory_size: number of the memory's units.
        memory_steps: steps of one sequence of the update, through which gradients flow.
        layer_norm: normalise the memory (Ba et al. 2016, https://arxiv.org/abs/1607.06450).

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
        precision: str = CnnPolicySettings.precision,
        memory: str | None = CnnPolicySettings.memory,
        memory_size: int = CnnPolicySettings.memory_size,
        memory_steps: int = CnnPolicySettings.memory_steps,
        layer_norm: bool = CnnPolicySettings.layer_norm,
    ) -> None:
        images = image_network(without_mask(ob_space, make_pdtype(ac_space)), kind, channels, precision, memory)
        body = Body(cell=make_cell(memory, memory_size, layer_norm), layer_norm=layer_norm)
        super().__init__(
            name,
            ob_space,
            ac_space,
            body=body,
            shapes=images.shapes() | body.shapes(images.outputs, make_pdtype(ac_space)),
            init=init,
            init_logstd=init_logstd,
            memory_steps=memory_steps,
            keep_images=True,
            size_text=f"images of {images.shape}",
        )
        self.images = images
        self.kind, self.channels_first, self.convolutions = images.kind, images.channels_first, images.convolutions
        self.precision = images.precision
        self.memory, self.memory_size, self.layer_norm = memory, int(memory_size), body.layer_norm
        # on a CPU, XLA's convolutions are slower than TensorFlow's; on a GPU, its fused ones are faster
        self.xla = bool(tf.config.list_physical_devices("GPU"))
        # on a CPU, two halves computed concurrently take 0.85 of the time of one minibatch: each uses cores that the
        # other leaves idle
        self.num_microbatches = 1 if self.xla else 2

    @classmethod
    def variable_shapes(
        cls,
        ob_space: gym.Space[Any],
        ac_space: gym.Space[Any],
        kind: str = CnnPolicySettings.kind,
        *,
        channels: str | None = CnnPolicySettings.channels,
        memory: str | None = CnnPolicySettings.memory,
        memory_size: int = CnnPolicySettings.memory_size,
        layer_norm: bool = CnnPolicySettings.layer_norm,
        **others: Any,
    ) -> dict[str, list[int]]:
        """Return {name: shape} of the weights, as `Policy.variable_shapes` does.

        Args:
            ob_space: as in the constructor, like all other arguments.
            others: settings that do not change the shapes.

        Raises:
            UserError: for observations that are not such images, or an invalid setting.
        """
        pdtype = make_pdtype(ac_space)
        images = image_network(without_mask(ob_space, pdtype), kind, channels)
        body = Body(cell=make_cell(memory, memory_size, layer_norm), layer_norm=layer_norm)
        return images.shapes() | body.shapes(images.outputs, pdtype)

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments that build this network again, with `channels` and `precision` as determined."""
        return {
            "kind": self.kind,
            "init": self.init,
            "init_logstd": self.init_logstd,
            "channels": "first" if self.channels_first else "last",
            "precision": self.precision,
            "memory": self.memory,
            "memory_size": self.memory_size,
            "memory_steps": self.memory_steps,
            "layer_norm": self.layer_norm,
        }

    def images_in_float32(self) -> ImageNetwork:
        """Return the convolutional network with products in float32."""
        images: ImageNetwork = self.images
        return replace(images, precision="float32")

    def features(self, weights: Weights, ob: tf.Tensor) -> tf.Tensor:
        """Return the features [N, F] of images [N, H, W, C] or [N, C, H, W] uint8, over given weights."""
        return self.images.features(weights, ob)


def image_network(
    space: gym.Space[Any],
    kind: str,
    channels: str | None,
    precision: str = CnnPolicySettings.precision,
    memory: str | None = None,
) -> ImageNetwork:
    """Return the convolutional network for a space of images; `memory` is for the advice of an error.

    Raises:
        UserError: if observations are not images, or for an invalid setting.
    """
    if not isinstance(space, gym.spaces.Box) or not is_image(space) or space.dtype != np.uint8:
        raise UserError(
            f"CnnPolicy needs images, a Box of rank 3 and dtype uint8, not {describe_space(space)}; {USE_MLP}"
            + (f", with memory {memory}" if memory else "")
        )
    return ImageNetwork.of(space, kind, channels, precision=choose_precision(precision))
