"""`MlpPolicy`: two multilayer perceptrons of tanh units, one for the policy and one for the value, over normalised
observations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_ppo.config.policy_settings import MAX_LAYERS, MAX_MIN_STD, MlpPolicySettings
from common import seeding
from common.distributions import DiagGaussianPdType, NumpyOperators, make_pdtype
from common.errors import UserError
from common.formatting import safe_repr
from common.policies.base import Policy
from common.policies.initializers import check_init, initialize_weights
from common.policies.networks import NumpyNetwork, TensorFlowNetwork
from common.policies.observation_encoder import ObservationEncoder
from common.running_mean_std import RunningMeanStd
from common.runtime.memory import check_memory
from common.validation import check_bool, check_float, check_greater, check_int, check_int_argument


class MlpPolicy(Policy):
    """Baselines' MlpPolicy. Its forward pass is defined once; it is compiled for the update and runs in NumPy for
    acting.

    Args:
        name: 'pi' or 'oldpi'.
        ob_space: Gymnasium space of the observations, which are flattened.
        ac_space: Gymnasium space of the actions.
        hid_size: width of the hidden layers.
        num_hid_layers: number of hidden layers.
        gaussian_fixed_var: a free log std, the same for all observations; False makes it a second output of the
            network.
        vf_hid_size: width of the value network's hidden layers; None: hid_size.
        init: 'normc' (Baselines') or 'orthogonal'.
        init_logstd: initial log std of a Gaussian.
        shared_trunk: the value is computed from the policy's last hidden layer.
        normalise_ob: subtract the running mean of the observations and divide by their standard deviation.
        ob_clip: normalised observations are clipped to +- this.
        ob_min_std: lower bound of the standard deviation in the normalisation; Baselines' 0.1.

    Raises:
        UserError: for an invalid setting, or a network larger than this machine's memory.
    """

    network_is_pure = True

    def __init__(
        self,
        name: str,
        ob_space: gym.Space[Any],
        ac_space: gym.Space[Any],
        hid_size: int = MlpPolicySettings.hid_size,
        num_hid_layers: int = MlpPolicySettings.num_hid_layers,
        gaussian_fixed_var: bool = MlpPolicySettings.gaussian_fixed_var,
        *,
        vf_hid_size: int | None = MlpPolicySettings.vf_hid_size,
        init: str = MlpPolicySettings.init,
        init_logstd: float = MlpPolicySettings.init_logstd,
        shared_trunk: bool = MlpPolicySettings.shared_trunk,
        normalise_ob: bool = MlpPolicySettings.normalise_ob,
        ob_clip: float = MlpPolicySettings.ob_clip,
        ob_min_std: float = MlpPolicySettings.ob_min_std,
    ) -> None:
        super().__init__(name, ob_space, ac_space, keep_images=False)
        self.hid_size = check_int_argument("hid_size", hid_size, 1)
        self.num_hid_layers = check_int_argument("num_hid_layers", num_hid_layers, 0, MAX_LAYERS)
        self.vf_hid_size = None if vf_hid_size is None else check_int_argument("vf_hid_size", vf_hid_size, 1)
        shapes = self.variable_shapes(
            ob_space,
            ac_space,
            self.hid_size,
            self.num_hid_layers,
            gaussian_fixed_var,
            vf_hid_size=self.vf_hid_size,
            shared_trunk=shared_trunk,
        )
        check_init(init, init_logstd)
        check_greater("ob_clip", ob_clip, 0)
        check_float("ob_min_std", ob_min_std, 0, MAX_MIN_STD)
        self._check_memory(shapes)
        self.gaussian_fixed_var = bool(gaussian_fixed_var)
        self.init = init
        self.init_logstd = float(init_logstd)
        self.shared_trunk = bool(shared_trunk)
        self.normalise_ob = check_bool("normalise_ob", normalise_ob)
        self.ob_clip = float(ob_clip)
        self.ob_min_std = float(ob_min_std)
        if self.normalise_ob:
            self.ob_rms = RunningMeanStd(self.encoder.shape, min_std=ob_min_std)
        self.free_logstd = "pol/logstd" in shapes
        (self.num_outputs,) = shapes["pol/final/b"]
        self.weights = {key: tf.Variable(tf.zeros(shape), name=key) for key, shape in shapes.items()}
        self.initialise(seeding.generator(0, seeding.INITIALISE))

    def _check_memory(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Raise UserError if variables of these shapes exceed the memory."""
        widths = f"hid_size={self.hid_size}"
        if self.vf_hid_size is not None:
            widths += f", vf_hid_size={self.vf_hid_size}"
        num_bytes = 4 * sum(map(math.prod, shapes.values()))
        check_memory(num_bytes, f"{widths}, num_hid_layers={self.num_hid_layers}: the network")

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments that build this network again."""
        return {field.name: getattr(self, field.name) for field in fields(MlpPolicySettings)}

    @classmethod
    def variable_shapes(
        cls,
        ob_space: gym.Space[Any],
        ac_space: gym.Space[Any],
        hid_size: int = MlpPolicySettings.hid_size,
        num_hid_layers: int = MlpPolicySettings.num_hid_layers,
        gaussian_fixed_var: bool = MlpPolicySettings.gaussian_fixed_var,
        *,
        vf_hid_size: int | None = MlpPolicySettings.vf_hid_size,
        shared_trunk: bool = MlpPolicySettings.shared_trunk,
        **others: Any,
    ) -> dict[str, list[int]]:
        """Return {name: shape} of the weights, as `Policy.variable_shapes` does.

        Args:
            ob_space: as in the constructor, like all other arguments.
            others: settings that do not change the shapes.

        Raises:
            UserError: for an invalid setting.
        """
        hid_size = check_int("hid_size", hid_size, 1)
        num_hid_layers = check_int("num_hid_layers", num_hid_layers, 0, MAX_LAYERS)
        pdtype = make_pdtype(ac_space)
        free_logstd = check_bool("gaussian_fixed_var", gaussian_fixed_var) and isinstance(pdtype, DiagGaussianPdType)
        num_outputs = pdtype.param_shape()[0] // (2 if free_logstd else 1)
        if vf_hid_size is not None and check_bool("shared_trunk", shared_trunk):
            raise UserError(
                f"invalid vf_hid_size={safe_repr(vf_hid_size)}: with shared_trunk the value network has no hidden "
                "layers; leave one of them out"
            )
        vf_hid_size = hid_size if vf_hid_size is None else check_int("vf_hid_size", vf_hid_size, 1)
        inputs = ObservationEncoder(ob_space, keep_images=False).shape
        shapes: dict[str, list[int]] = {}
        for net, width, outputs in (("pol", hid_size, num_outputs), ("vf", vf_hid_size, 1)):
            widths = [*inputs, *[width] * num_hid_layers]
            if net == "pol" or not check_bool("shared_trunk", shared_trunk):
                for i, (fan_in, fan_out) in enumerate(zip(widths, widths[1:]), 1):
                    shapes |= {f"{net}/fc{i}/w": [fan_in, fan_out], f"{net}/fc{i}/b": [fan_out]}
            shapes |= {f"{net}/final/w": [widths[-1], outputs], f"{net}/final/b": [outputs]}
        return shapes | ({"pol/logstd": [num_outputs]} if free_logstd else {})

    def initialise(self, rng: np.random.Generator) -> None:
        """Draw new weights from a NumPy generator; biases are zero, or init_logstd where they are a log std."""
        initialize_weights(self.weights, rng, self.init, self.init_logstd)
        if not self.free_logstd and isinstance(self.pdtype, DiagGaussianPdType):
            bias = np.zeros(self.num_outputs, np.float32)
            bias[self.num_outputs // 2 :] = self.init_logstd
            self.weights["pol/final/b"].assign(bias)

    def prepare(self, ob: np.ndarray) -> Any:
        """Normalise observations and clip the result, if `normalise_ob` is set.

        Args:
            ob: [N, n], encoded observations.

        Returns:
            [N, n] float32: (ob - mean) / std, clipped to [-ob_clip, ob_clip]; without `normalise_ob` the observations.
        """
        if self.normalise_ob:
            assert self.ob_rms is not None
            return self.ob_rms.normalise(ob, self.ob_clip)
        return ob.astype(np.float32)

    # ---- network

    def _layers(self, net: str) -> tuple[str, ...]:
        """Return the names of a network's layers: the hidden ones, then the last."""
        return (*(f"{net}/fc{i}" for i in range(1, self.num_hid_layers + 1)), f"{net}/final")

    @staticmethod
    def _hidden(network: Any, layers: Sequence[str], x: Any) -> Any:
        """Return the output of the hidden layers `layers`."""
        for layer in layers:
            x = network.dense_tanh(x, layer)
        return x

    def forward(self, ob: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return (flatparam [N, p], vpred [N]), float32, at prepared observations [N, n] float32."""
        return self.network(self.weights, ob)

    def network(
        self, weights: Mapping[str, tf.Variable], ob: tf.Tensor, network: TensorFlowNetwork | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Compute `forward` over other weights.

        Args:
            weights: {name: variable}, with the names and shapes of `variable_shapes`.
            ob: [N, n] float32, prepared observations.
            network: computes the layers; None: a `TensorFlowNetwork` over `weights`.

        Returns:
            (flatparam [N, p], vpred [N]), float32.
        """
        network = network or TensorFlowNetwork(weights)
        *layers, final = self._layers("pol")
        hidden = self._hidden(network, layers, ob)
        flat = network.dense(hidden, final)
        if self.free_logstd:
            flat = tf.concat([flat, tf.broadcast_to(weights["pol/logstd"], tf.shape(flat))], axis=-1)
        vf_hidden = hidden if self.shared_trunk else self._hidden(network, self._layers("vf")[:-1], ob)
        return flat, network.dense(vf_hidden, "vf/final")[:, 0]

    def dense_layers(self) -> tuple[str, ...]:
        """Return the names of the policy's layers, the last one included; () if a derived class overrides `forward` or
        `network`.
        """
        is_overridden = "forward" in vars(self) or any(
            getattr(type(self), name) is not getattr(MlpPolicy, name) for name in ("forward", "network")
        )
        return () if is_overridden else self._layers("pol")

    # ---- acting

    def actor(self, num_envs: int, noise: np.ndarray | None) -> Callable[[np.ndarray, int], np.ndarray]:
        """Return how to act for one segment, as `Policy.actor` does.

        It acts in NumPy, on a snapshot of the weights with the observation filter folded into the first layer.
        """
        is_single = num_envs == 1  # one observation without a batch axis takes half the time
        weights = {key: v.numpy() for key, v in self.weights.items() if key.startswith("pol/")}
        network = NumpyNetwork(weights, () if is_single else (num_envs,), *self.encoder.shape)
        pdtype = self.pdtype
        *layers, final = self._layers("pol")
        if self.normalise_ob and self.ob_rms is not None:
            network.fold_normalization((*layers, final)[0], self.ob_rms.mean, self.ob_rms.std, self.ob_clip)
        if is_single and noise is not None:
            noise = noise[:, 0]
        choose = self._chooser(noise)
        reshape = self.free_logstd and len(pdtype.sample_shape()) != 1

        def act(ob: np.ndarray, t: int) -> np.ndarray:
            x = network.load_input(ob[0] if is_single else ob)
            ac = choose(network.dense(self._hidden(network, layers, x), final), t)
            if reshape:
                ac = pdtype.to_space_shape(ac)
            return np.asarray(ac)[None] if is_single else ac

        return act

    def _chooser(self, noise: np.ndarray | None) -> Callable[[np.ndarray, int], Any]:
        """Return a function (output of the last layer, time step) -> actions for this segment's noise."""
        if self.free_logstd:  # the standard deviation is constant during a segment: scale all noise at once
            scaled = None if noise is None else noise * np.exp(self.weights["pol/logstd"].numpy())

            def choose(flat: np.ndarray, t: int) -> Any:
                return flat if scaled is None else flat + scaled[t]
        else:
            pdtype = self.pdtype

            def choose(flat: np.ndarray, t: int) -> Any:
                if noise is None:
                    return pdtype.mode(NumpyOperators, flat)
                return pdtype.sample(NumpyOperators, flat, noise[t])

        return choose
