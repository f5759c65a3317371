"""`MixedPolicy`: observations of numbers, choices and images, in a Dict or Tuple of any depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_ppo.config.policy_settings import MAX_MIN_STD, MixedPolicySettings
from baselines_ppo.networks.network_policy import BODY_SETTINGS, Body, NetworkPolicy, Weights, make_body
from common.distributions import make_pdtype
from common.errors import UserError
from common.formatting import safe_repr
from common.policies.inputs.masks import without_mask
from common.policies.inputs.parts import CHOICES, NUMBERS, PartsEncoder, image_leaves
from common.policies.inputs.records import join_entries, record_of, split_entries, to_bytes, unpack
from common.policies.layers.convolutions import CHANNELS, ImageNetwork
from common.policies.layers.precision import choose_precision
from common.policies.observation_encoder import ObservationEncoder
from common.policies.storable import without_wrappers
from common.running_mean_std import RunningMeanStd
from common.validation import check_bool, check_float, check_greater


class MixedPolicy(NetworkPolicy):
    """A policy for observations with several parts.

    Numbers (Box, MultiBinary) are normalised and joined, choices (Discrete, MultiDiscrete) become one-hot vectors, and
    each image has a separate convolutional network. The memory or the hidden layers read all of them together.

    Args:
        name: 'pi' or 'oldpi'.
        ob_space: Gymnasium space of the observations.
        ac_space: Gymnasium space of the actions.
        kind: of the convolutional networks, as for `CnnPolicy`.
        channels: as for `CnnPolicy`, for all images; or for single ones, such as 'camera=first,map=last'.
        precision: of the convolutional networks, as for `CnnPolicy`.
        settings: all others are those of `MlpPolicy`.

    Raises:
        UserError: for an invalid setting, images whose channels are not clear, or a network larger than this machine's
            memory.
    """

    network_is_pure = True
    metrics_rows = 256  # as for CnnPolicy

    def __init__(
        self,
        name: str,
        ob_space: gym.Space[Any],
        ac_space: gym.Space[Any],
        kind: str = MixedPolicySettings.kind,
        channels: str | None = MixedPolicySettings.channels,
        precision: str = MixedPolicySettings.precision,
        **settings: Any,
    ) -> None:
        known: dict[str, Any] = {field.name: field.default for field in fields(MixedPolicySettings)}
        if unknown := settings.keys() - known.keys():
            raise UserError(f"MixedPolicy has no setting {sorted(unknown)[0]}; its settings are {', '.join(known)}")
        precision = choose_precision(precision)
        values = known | settings | {"kind": kind, "channels": channels, "precision": precision}
        check_greater("ob_clip", values["ob_clip"], 0)
        check_float("ob_min_std", values["ob_min_std"], 0, MAX_MIN_STD)
        pdtype = make_pdtype(ac_space)
        space = without_mask(ob_space, pdtype)
        images = image_networks(space, kind, channels, precision)
        body = make_body(**{key: values[key] for key in BODY_SETTINGS})
        super().__init__(
            name,
            ob_space,
            ac_space,
            body=body,
            shapes=self._shapes(space, images, body, pdtype),
            init=values["init"],
            init_logstd=values["init_logstd"],
            memory_steps=values["memory_steps"],
            keep_images=True,
            size_text=f"{len(images)} images, hidden={list(body.hidden)}",
        )
        self.images, self.precision = images, precision
        self.given = values | {
            "channels": ",".join(f"{key}={_axis(network)}" for key, network in images.items()) or None
        }
        self.normalise_ob = check_bool("normalise_ob", values["normalise_ob"])
        self.ob_clip = float(values["ob_clip"])
        # on a CPU, XLA's convolutions are slower than TensorFlow's
        self.xla = not images or bool(tf.config.list_physical_devices("GPU"))
        dtype = self.network_encoder.dtype
        if self.normalise_ob and NUMBERS in (dtype.names or ()):
            self.ob_rms = RunningMeanStd(dtype[NUMBERS].shape, min_std=values["ob_min_std"])
        # what `forward` takes: the encoded record, with normalised numbers
        self.record_dtype = np.dtype(
            [(key, np.float32 if key == NUMBERS else dtype[key].base, dtype[key].shape) for key in dtype.names or ()]
        )

    @classmethod
    def make_encoder(cls, space: gym.Space[Any], keep_images: bool) -> ObservationEncoder:
        """Return the encoder of the observations that the network sees."""
        return PartsEncoder(space)

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments that build this network again; `channels` names the axis of each image."""
        return without_wrappers(self.given)

    def images_in_float32(self) -> dict[str, ImageNetwork]:
        """Return the convolutional networks with products in float32."""
        return {name: replace(images, precision="float32") for name, images in self.images.items()}

    @classmethod
    def variable_shapes(
        cls, ob_space: gym.Space[Any], ac_space: gym.Space[Any], **settings: Any
    ) -> dict[str, list[int]]:
        """Return {name: shape} of the weights, as `Policy.variable_shapes` does.

        Args:
            ob_space: as in the constructor, like all other arguments.
            ac_space: as in the constructor.
            settings: keyword arguments of the constructor.

        Raises:
            UserError: for an invalid setting.
        """
        pdtype = make_pdtype(ac_space)
        space = without_mask(ob_space, pdtype)
        images = image_networks(space, settings.get("kind", MixedPolicySettings.kind), settings.get("channels"))
        return cls._shapes(
            space, images, make_body(**{key: x for key, x in settings.items() if key in BODY_SETTINGS}), pdtype
        )

    @staticmethod
    def _shapes(
        space: gym.Space[Any], images: dict[str, ImageNetwork], body: Body, pdtype: Any
    ) -> dict[str, list[int]]:
        dtype = PartsEncoder(space).dtype
        numbers = sum(dtype[name].shape[0] for name in (NUMBERS, CHOICES) if name in (dtype.names or ()))
        shapes = {name: shape for network in images.values() for name, shape in network.shapes().items()}
        return shapes | body.shapes(numbers + sum(network.outputs for network in images.values()), pdtype)

    def normalised_part(self, encoded: np.ndarray) -> np.ndarray:
        """Return the numbers of encoded observations [N]."""
        part: np.ndarray = super().normalised_part(encoded)[NUMBERS]
        return part

    def prepare(self, ob: np.ndarray) -> Any:
        """Normalise the numbers, if `normalise_ob` is set.

        Args:
            ob: [...] records of encoded observations.

        Returns:
            [..., n] uint8, the bytes of records with numbers in float32.
        """
        arrays = {name: ob[name] for name in self.record_dtype.names or ()}
        if self.ob_rms is not None:
            arrays[NUMBERS] = self.ob_rms.normalise(arrays[NUMBERS], self.ob_clip)
        return to_bytes(record_of(self.record_dtype, arrays))

    def prepare_tensor(self, ob: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Compute `prepare` in TensorFlow, for exports.

        Args:
            ob: {field of `record_dtype`: [N, ...]}, encoded observations.

        Returns:
            [N, n] float32, the entries of the records whose bytes `prepare` returns.
        """
        arrays = dict(ob)
        if self.ob_rms is not None:
            arrays[NUMBERS] = self.ob_rms.normalise(arrays[NUMBERS], self.ob_clip)
        return join_entries(arrays, self.record_dtype)

    def features(self, weights: Weights, ob: tf.Tensor) -> tf.Tensor:
        """Return the features [N, F]: numbers, choices and those of the images, of prepared observations [N, n].

        They are bytes, as `prepare` returns them, or float32, as `prepare_tensor` does.
        """
        parts = (unpack if ob.dtype == tf.uint8 else split_entries)(ob, self.record_dtype)
        vectors = [tf.cast(parts[name], tf.float32) for name in (NUMBERS, CHOICES) if name in parts]
        return tf.concat([*vectors, *(x.features(weights, parts[name]) for name, x in self.images.items())], axis=-1)


def _axis(network: ImageNetwork) -> str:
    return "first" if network.channels_first else "last"


def image_networks(
    space: gym.Space[Any], kind: str, channels: str | None, precision: str = "float32"
) -> dict[str, ImageNetwork]:
    """Return {name of a leaf: its convolutional network} for the images of a space.

    Raises:
        UserError: for an invalid `kind` or `channels`, and for images that do not suit them.
    """
    images = image_leaves(space)
    by_leaf: dict[str, str | None] = dict.fromkeys(images, channels)
    if channels is not None and "=" in channels:
        by_leaf = dict.fromkeys(images, None)
        for entry in channels.split(","):
            name, _, axis = entry.partition("=")
            if name not in images or axis not in CHANNELS or by_leaf[name] is not None:
                raise UserError(
                    f"invalid channels={safe_repr(channels)}: must be {', '.join(CHANNELS)}, or one of them for single "
                    f"images, each once, such as NAME=first; the images are {', '.join(images) or 'none'}"
                )
            by_leaf[name] = axis
    return {name: ImageNetwork.of(leaf, kind, by_leaf[name], f"{name}/", precision) for name, leaf in images.items()}
