"""`NetworkPolicy`: features, optionally a memory, hidden layers, and heads for distribution and value.

`MlpPolicy`, `CnnPolicy` and `MixedPolicy` are such policies; they differ in the features.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_ppo.config.policy_settings import MAX_LAYERS, MlpPolicySettings
from baselines_ppo.config.setting_fields import check_int_list
from common import seeding
from common.distributions import PdType, TensorFlowOperators
from common.errors import UserError
from common.formatting import safe_repr
from common.policies.base import Policy
from common.policies.initializers import check_init, initialize_weights
from common.policies.layers.memory_cells import CELLS, MemoryCell
from common.policies.networks import ACTIVATIONS, TensorFlowNetwork
from common.runtime.memory import check_memory
from common.validation import check_bool, check_choice, check_int

Weights = Mapping[str, tf.Variable]


@dataclass(frozen=True)
class Body:
    """Everything of a network behind its features.

    Attributes:
        hidden: widths of the policy's hidden layers.
        vf_hidden: widths of the value function's; () with a shared trunk.
        activation: of the hidden layers.
        layer_norm: whether hidden layers and memory are normalised (Ba et al. 2016).
        shared_trunk: the value is computed from the policy's last hidden layer.
        free_logstd: the log std of a Gaussian is a variable, and not an output of the network.
        cell: the memory, between features and hidden layers; None for none.
    """

    hidden: tuple[int, ...] = ()
    vf_hidden: tuple[int, ...] = ()
    activation: str = "tanh"
    layer_norm: bool = False
    shared_trunk: bool = True
    free_logstd: bool = True
    cell: MemoryCell | None = None

    def shapes(self, features: int, pdtype: PdType) -> dict[str, list[int]]:
        """Return {name: shape} of the variables, for a number of features and a kind of distribution."""
        shapes = self.cell.shapes(features) if self.cell else {}
        inputs = self.cell.size if self.cell else features
        num_logstd = self.num_logstd(pdtype)
        num_outputs = pdtype.param_shape()[0] - num_logstd
        for net, hidden, outputs in (("pol", self.hidden, num_outputs), ("vf", self.vf_hidden, 1)):
            widths = [inputs, *hidden]
            if net == "vf" and self.shared_trunk:
                widths = [[inputs, *self.hidden][-1]]
            for i, (fan_in, fan_out) in enumerate(zip(widths, widths[1:]), 1):
                shapes |= {f"{net}/fc{i}/w": [fan_in, fan_out], f"{net}/fc{i}/b": [fan_out]}
                if self.layer_norm:
                    shapes |= {f"{net}/fc{i}/scale": [fan_out], f"{net}/fc{i}/offset": [fan_out]}
            shapes |= {f"{net}/final/w": [widths[-1], outputs], f"{net}/final/b": [outputs]}
        return shapes | ({"pol/logstd": [num_logstd]} if num_logstd else {})

    def num_logstd(self, pdtype: PdType) -> int:
        """Return the number of log standard deviations that are variables."""
        return len(pdtype.logstd_indices()) if self.free_logstd else 0

    def layers(self, net: str) -> tuple[str, ...]:
        """Return the names of a network's layers, 'pol' or 'vf': the hidden ones, then the last."""
        hidden = self.hidden if net == "pol" else self.vf_hidden
        return (*(f"{net}/fc{i}" for i in range(1, len(hidden) + 1)), f"{net}/final")


def make_cell(memory: str | None, memory_size: int, layer_norm: bool) -> MemoryCell | None:
    """Return the memory of a policy; None for none.

    Raises:
        UserError: for an invalid setting.
    """
    if memory is None:
        return None
    check_choice("memory", memory, CELLS)
    return MemoryCell(memory, check_int("memory_size", memory_size, 1), check_bool("layer_norm", layer_norm))


def check_widths(name: str, widths: Any) -> tuple[int, ...]:
    """Return the widths of hidden layers as a tuple.

    Raises:
        UserError: if they are not at most `MAX_LAYERS` integers of at least 1.
    """
    found = check_int_list(name, widths)
    if len(found) > MAX_LAYERS:
        raise UserError(f"invalid {name} with {len(found):,} layers: must be at most {MAX_LAYERS:,}")
    return tuple(found)


class NetworkPolicy(Policy):
    """A policy of features, memory, hidden layers and heads. Derived classes define the features.

    Args:
        name: 'pi' or 'oldpi'.
        ob_space: Gymnasium space of the observations.
        ac_space: Gymnasium space of the actions.
        body: what follows the features.
        shapes: {name: shape} of all variables, in the order in which they are drawn.
        init: 'normc' (Baselines') or 'orthogonal'.
        init_logstd: initial log std of a Gaussian.
        memory_steps: steps of one sequence of the update, through which gradients flow.
        keep_images: False turns an image observation into a vector.
        size_text: settings that determine the size, for an error.

    Attributes:
        images: the convolutional networks of a policy that sees images.
        precision: 'float32' or 'bfloat16', of their products.

    Raises:
        UserError: for an invalid setting, or a network larger than this machine's memory.
    """

    images: Any
    precision: str = "float32"

    def __init__(
        self,
        name: str,
        ob_space: gym.Space[Any],
        ac_space: gym.Space[Any],
        *,
        body: Body,
        shapes: Mapping[str, Sequence[int]],
        init: str,
        init_logstd: float,
        memory_steps: int,
        keep_images: bool,
        size_text: str,
    ) -> None:
        check_init(init, init_logstd)
        check_choice("activation", body.activation, ACTIVATIONS)
        if body.cell is not None:
            size_text += f", memory_size={body.cell.size}"
        check_memory(4 * sum(map(math.prod, shapes.values())), f"{size_text}: the network")
        super().__init__(name, ob_space, ac_space, keep_images)
        self.body = body
        self.activation, self.layer_norm = body.activation, body.layer_norm
        self.shared_trunk, self.gaussian_fixed_var = body.shared_trunk, body.free_logstd
        self.state_size = body.cell.state_size if body.cell else 0
        self.memory_steps = check_int("memory_steps", memory_steps, 1)
        self.init = init
        self.init_logstd = float(init_logstd)
        self.free_logstd = "pol/logstd" in shapes
        (self.num_outputs,) = shapes["pol/final/b"]
        self.weights = {key: tf.Variable(tf.zeros(shape), name=key) for key, shape in shapes.items()}
        self.initialise(seeding.generator(0, seeding.INITIALISE))

    def initialise(self, rng: np.random.Generator) -> None:
        """Draw new weights from a NumPy generator.

        Biases are zero. Exceptions are an LSTM's forget gate, and init_logstd where biases are a log std.
        """
        initialize_weights(self.weights, rng, self.init, self.init_logstd)
        if self.body.cell is not None:
            for name, values in self.body.cell.initial_biases().items():
                self.weights[name].assign(values)
        if not self.free_logstd:
            bias = np.zeros(self.num_outputs, np.float32)
            bias[self.pdtype.logstd_indices()] = self.init_logstd
            self.weights["pol/final/b"].assign(bias)

    def in_float32(self) -> Policy:
        """Return this policy with all products in float32, over the same variables; itself if they are."""
        if self.precision == "float32":
            return self
        other = copy.copy(self)
        other.images, other.precision = self.images_in_float32(), "float32"
        other.__dict__["_compiled"] = None  # that function computes the other network
        return other

    def images_in_float32(self) -> Any:
        """Return what `in_float32` puts in place of `images`."""
        raise NotImplementedError

    # ---- network

    def features(self, weights: Weights, ob: tf.Tensor) -> tf.Tensor:
        """Return the features [N, F] float32 of prepared observations [N, ...], over given weights."""
        raise NotImplementedError

    def forward(self, ob: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return (flatparam [N, p], vpred [N]), float32, at prepared observations [N, ...], without a memory."""
        return self.network(self.weights, ob)

    def forward_sequence(
        self, ob: tf.Tensor, start: tf.Tensor, state: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return (flatparam [R, L, p], vpred [R, L], states [R, L, S]) of sequences, as `Policy.forward_sequence`."""
        return self.sequence_network(self.weights, ob, start, state)

    def network(
        self, weights: Weights, ob: tf.Tensor, network: TensorFlowNetwork | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Compute `forward` over other weights.

        Args:
            weights: {name: variable}, with the names and shapes of `variable_shapes`.
            ob: [N, ...], prepared observations.
            network: computes the layers; None: a `TensorFlowNetwork` over `weights`.

        Returns:
            (flatparam [N, p], vpred [N]), float32.
        """
        return self._heads(weights, self.features(weights, ob), network)

    def sequence_network(
        self, weights: Weights, ob: tf.Tensor, start: tf.Tensor, state: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Compute `forward_sequence` over other weights; the other arguments and the result are the same."""
        cell = self.body.cell
        assert cell is not None
        length = ob.shape[1]
        features = self.features(weights, tf.reshape(ob, tf.concat([[-1], tf.shape(ob)[2:]], axis=0)))
        states = cell.run(weights, tf.reshape(features, [-1, length, features.shape[-1]]), start, state)
        flat, vpred = self._heads(weights, tf.reshape(states[..., : cell.size], [-1, cell.size]), None)
        return tf.reshape(flat, [-1, length, flat.shape[-1]]), tf.reshape(vpred, [-1, length]), states

    def _heads(
        self, weights: Weights, features: tf.Tensor, network: TensorFlowNetwork | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return (flatparam [N, p], vpred [N]) of features [N, F]."""
        network = network or TensorFlowNetwork(weights, self.body.activation)
        *layers, final = self.body.layers("pol")
        hidden = self._hidden(network, layers, features)
        flat = network.dense(hidden, final)
        if self.free_logstd:
            flat = self.pdtype.join_logstd(TensorFlowOperators, flat, weights["pol/logstd"])
        if not self.body.shared_trunk:
            hidden = self._hidden(network, self.body.layers("vf")[:-1], features)
        return flat, network.dense(hidden, "vf/final")[:, 0]

    @staticmethod
    def _hidden(network: Any, layers: Sequence[str], x: Any) -> Any:
        """Return the output of the hidden layers `layers`."""
        for layer in layers:
            x = network.hidden_layer(x, layer)
        return x


def make_body(
    *,
    hid_size: int = MlpPolicySettings.hid_size,
    num_hid_layers: int = MlpPolicySettings.num_hid_layers,
    vf_hid_size: int | None = MlpPolicySettings.vf_hid_size,
    hidden: Any = MlpPolicySettings.hidden,
    gaussian_fixed_var: bool = MlpPolicySettings.gaussian_fixed_var,
    activation: str = MlpPolicySettings.activation,
    layer_norm: bool = MlpPolicySettings.layer_norm,
    memory: str | None = MlpPolicySettings.memory,
    memory_size: int = MlpPolicySettings.memory_size,
    shared_trunk: bool = MlpPolicySettings.shared_trunk,
) -> Body:
    """Return what follows the features of an `MlpPolicy` or a `MixedPolicy` with these settings.

    Raises:
        UserError: for an invalid setting.
    """
    hid_size = check_int("hid_size", hid_size, 1)
    num_hid_layers = check_int("num_hid_layers", num_hid_layers, 0, MAX_LAYERS)
    widths = (hid_size,) * num_hid_layers if hidden is None else check_widths("hidden", hidden)
    shared_trunk = check_bool("shared_trunk", shared_trunk)
    if vf_hid_size is not None and shared_trunk:
        raise UserError(
            f"invalid vf_hid_size={safe_repr(vf_hid_size)}: with shared_trunk the value network has no hidden "
            "layers; leave one of them out"
        )
    vf_widths = widths
    if vf_hid_size is not None:
        vf_widths = (check_int("vf_hid_size", vf_hid_size, 1),) * len(widths)
    return Body(
        widths,
        () if shared_trunk else vf_widths,
        activation,
        check_bool("layer_norm", layer_norm),
        shared_trunk,
        check_bool("gaussian_fixed_var", gaussian_fixed_var),
        make_cell(memory, memory_size, layer_norm),
    )


BODY_SETTINGS = frozenset(make_body.__kwdefaults__ or {})
