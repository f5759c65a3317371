"""`MlpPolicy`: two multilayer perceptrons, one for the policy and one for the value, over normalised observations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_ppo.config.policy_settings import MAX_LAYERS, MAX_MIN_STD, MlpPolicySettings
from baselines_ppo.networks.network_policy import BODY_SETTINGS, Body, NetworkPolicy, Weights, make_body
from common.distributions import NumpyOperators, make_pdtype
from common.envs.mask_layout import ACTION_MASK, OBSERVATION
from common.policies.actor import Act, MemoryActor
from common.policies.inputs.masks import without_mask
from common.policies.inputs.memory import Memory
from common.policies.layers.memory_cells import NumpyFunctions
from common.policies.networks import NumpyNetwork
from common.policies.observation_encoder import ObservationEncoder
from common.policies.storable import without_wrappers
from common.running_mean_std import RunningMeanStd
from common.validation import check_bool, check_float, check_greater, check_int_argument


def size_text(widths: Mapping[str, Any]) -> str:
    """Return the settings that determine the size of the hidden layers, for an error; `hidden` replaces two others."""
    replaced = () if widths["hidden"] is None else ("hid_size", "num_hid_layers")
    return ", ".join(f"{name}={x}" for name, x in widths.items() if x is not None and name not in replaced)


class MlpPolicy(NetworkPolicy):
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
        vf_hid_size: width of the value network's hidden layers; None: as the policy's.
        hidden: widths of the hidden layers, such as [256, 128]; None: `num_hid_layers` of `hid_size`.
        activation: of the hidden layers: 'tanh', 'relu', 'elu' or 'silu'.
        layer_norm: normalise hidden layers and memory (Ba et al. 2016, https://arxiv.org/abs/1607.06450).
        memory: 'lstm' or 'gru', between the observation and the hidden layers of both networks; None for none.
        memory_size: number of the memory's units.
        memory_steps: steps of one sequence of the update, through which gradients flow.
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
        hidden: Any = MlpPolicySettings.hidden,
        activation: str = MlpPolicySettings.activation,
        layer_norm: bool = MlpPolicySettings.layer_norm,
        memory: str | None = MlpPolicySettings.memory,
        memory_size: int = MlpPolicySettings.memory_size,
        memory_steps: int = MlpPolicySettings.memory_steps,
        init: str = MlpPolicySettings.init,
        init_logstd: float = MlpPolicySettings.init_logstd,
        shared_trunk: bool = MlpPolicySettings.shared_trunk,
        normalise_ob: bool = MlpPolicySettings.normalise_ob,
        ob_clip: float = MlpPolicySettings.ob_clip,
        ob_min_std: float = MlpPolicySettings.ob_min_std,
    ) -> None:
        widths = {
            "hid_size": check_int_argument("hid_size", hid_size, 1),
            "num_hid_layers": check_int_argument("num_hid_layers", num_hid_layers, 0, MAX_LAYERS),
            "vf_hid_size": None if vf_hid_size is None else check_int_argument("vf_hid_size", vf_hid_size, 1),
            "hidden": hidden,
        }
        body = make_body(
            **widths,
            gaussian_fixed_var=gaussian_fixed_var,
            activation=activation,
            layer_norm=layer_norm,
            memory=memory,
            memory_size=memory_size,
            shared_trunk=shared_trunk,
        )
        check_greater("ob_clip", ob_clip, 0)
        check_float("ob_min_std", ob_min_std, 0, MAX_MIN_STD)
        super().__init__(
            name,
            ob_space,
            ac_space,
            body=body,
            shapes=self._shapes(ob_space, ac_space, body),
            init=init,
            init_logstd=init_logstd,
            memory_steps=memory_steps,
            keep_images=False,
            size_text=size_text(widths),
        )
        self.hid_size, self.num_hid_layers, self.vf_hid_size = list(widths.values())[:3]
        self.hidden = None if hidden is None else list(body.hidden)
        self.memory, self.memory_size = memory, int(memory_size)
        self.normalise_ob = check_bool("normalise_ob", normalise_ob)
        self.ob_clip = float(ob_clip)
        self.ob_min_std = float(ob_min_std)
        if self.normalise_ob:
            self.ob_rms = RunningMeanStd(self.network_encoder.shape, min_std=ob_min_std)

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments that build this network again."""
        return without_wrappers({field.name: getattr(self, field.name) for field in fields(MlpPolicySettings)})

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
        body = make_body(**{name: x for name, x in settings.items() if name in BODY_SETTINGS})
        return cls._shapes(ob_space, ac_space, body)

    @staticmethod
    def _shapes(ob_space: gym.Space[Any], ac_space: gym.Space[Any], body: Body) -> dict[str, list[int]]:
        pdtype = make_pdtype(ac_space)
        (inputs,) = ObservationEncoder(without_mask(ob_space, pdtype), keep_images=False).shape
        return body.shapes(inputs, pdtype)

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

    def features(self, weights: Weights, ob: tf.Tensor) -> tf.Tensor:
        """Return the prepared observations [N, n] themselves."""
        return ob

    # ---- acting

    def actor(self, num_envs: int, noise: np.ndarray | None) -> Act:
        """Return how to act for one segment, as `Policy.actor` does.

        It acts in NumPy, on a snapshot of the weights with the observation filter folded into the first layer.
        """
        is_single = num_envs == 1  # one observation without a batch axis takes half the time
        *layers, final = self.body.layers("pol")
        network = self._numpy_network("pol/", () if is_single else (num_envs,), (*layers, final)[0])
        if is_single and noise is not None:
            noise = noise[:, 0]
        choose = self._chooser(noise)
        masked = self.masked

        def act(ob: np.ndarray, t: int) -> np.ndarray:
            if is_single:
                ob = ob[0]
            x = network.load_input(ob[OBSERVATION] if masked else ob)
            flat = network.dense(self._hidden(network, layers, x), final)
            ac = choose(flat, t, ob[ACTION_MASK] if masked else None)
            return np.asarray(ac)[None] if is_single else ac

        return act

    def memory_actor(self, noise: np.ndarray | None, memory: Memory) -> Act:
        """Return how to act for one segment with a memory, as `Policy.memory_actor` does; in NumPy like `actor`."""
        cell = self.body.cell
        if cell is None or cell.layer_norm:
            return MemoryActor(self, noise, memory)
        *layers, final = self.body.layers("pol")
        network = self._numpy_network(("pol/", "memory/x"), (len(memory.start),), "memory/x")
        weights = {key: v.numpy() for key, v in self.weights.items() if key.startswith("memory/")}
        choose = self._chooser(noise)
        masked = self.masked

        def act(ob: np.ndarray, t: int) -> np.ndarray:
            gates = network.dense(network.load_input(ob[OBSERVATION] if masked else ob), "memory/x")
            state = cell.step(NumpyFunctions, weights, gates, memory.state * ~memory.start[:, None])
            memory.advance(state)
            x = network.with_bias(state[:, : cell.size])
            flat = network.dense(self._hidden(network, layers, x), final)
            ac: np.ndarray = choose(flat, t, ob[ACTION_MASK] if masked else None)
            return ac

        return act

    def _numpy_network(self, prefixes: Any, batch_shape: tuple[int, ...], first_layer: str) -> NumpyNetwork:
        """Return the layers whose names start with `prefixes`, with the observation filter folded into the first."""
        weights = {key: v.numpy() for key, v in self.weights.items() if key.startswith(prefixes)}
        (inputs,) = self.network_encoder.shape
        network = NumpyNetwork(weights, batch_shape, inputs, self.activation)
        if self.normalise_ob and self.ob_rms is not None:
            network.fold_normalization(first_layer, self.ob_rms.mean, self.ob_rms.std, self.ob_clip)
        return network

    def _chooser(self, noise: np.ndarray | None) -> Callable[[np.ndarray, int, np.ndarray | None], Any]:
        """Return a function (output of the last layer, time step, mask or None) -> actions for this segment's noise."""
        pdtype = self.pdtype
        if self.free_logstd and pdtype.param_shape()[0] == 2 * self.num_outputs:
            # the standard deviation is constant during a segment: scale all noise at once
            scaled = None if noise is None else noise * np.exp(self.weights["pol/logstd"].numpy())
            reshape = len(pdtype.sample_shape()) != 1

            def choose(flat: np.ndarray, t: int, mask: np.ndarray | None) -> Any:
                ac = flat if scaled is None else flat + scaled[t]
                return pdtype.to_space_shape(ac) if reshape else ac
        else:
            logstd = self.weights["pol/logstd"].numpy() if self.free_logstd else None

            def choose(flat: np.ndarray, t: int, mask: np.ndarray | None) -> Any:
                if logstd is not None:
                    flat = pdtype.join_logstd(NumpyOperators, flat, logstd)
                if mask is not None:
                    flat = pdtype.mask_flat(NumpyOperators, flat, mask)
                if noise is None:
                    return pdtype.mode(NumpyOperators, flat)
                return pdtype.sample(NumpyOperators, flat, noise[t])

        return choose
