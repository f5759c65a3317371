"""`MlpPolicy`: two multilayer perceptrons of tanh units, one for the policy and one for the value, over normalised observations."""

import math

import numpy as np
import tensorflow as tf

from common import seeding
from common.distributions import DiagGaussianPdType, make_pdtype
from common.errors import UserError
from common.formatting import safe_repr
from common.policies.base import Policy
from common.policies.initializers import check_init, initialise_weights
from common.policies.networks import NumpyNetwork, NumpyOperators, TensorFlowNetwork
from common.policies.observation_encoder import ObservationEncoder
from common.running_mean_std import RunningMeanStd
from common.runtime.memory import check_memory
from common.validation import check_bool, check_float, check_greater, check_int, check_int_argument

MAX_LAYERS = 1000


class MlpPolicy(Policy):
    """Baselines' MlpPolicy. The forward pass is written once: compiled for the update, on a NumPy snapshot for acting.

    Args:
        name: 'pi' or 'oldpi'.
        ob_space, ac_space: Gymnasium spaces; observations are flattened.
        hid_size, num_hid_layers: width and number of hidden layers.
        vf_hid_size: width of the value's hidden layers; None for hid_size.
        gaussian_fixed_var: a free log std, the same at all observations; False makes it a second output of the network.
        init: 'normc', Baselines', or 'orthogonal'.
        init_logstd: where a Gaussian's log std starts.
        shared_trunk: let the value read the policy's last hidden layer.
        normalise_ob: subtract the observations' running mean and divide by their deviation.
        ob_clip: normalised observations are clipped to +- this.
        ob_min_std: no observation is divided by less; Baselines' 0.1.

    Raises:
        UserError: for a setting that cannot be, or a network beyond this machine's memory.
    """

    network_is_pure = True

    def __init__(
        self,
        name,
        ob_space,
        ac_space,
        hid_size=64,
        num_hid_layers=2,
        gaussian_fixed_var=True,
        *,
        vf_hid_size=None,
        init="normc",
        init_logstd=0.0,
        shared_trunk=False,
        normalise_ob=True,
        ob_clip=5.0,
        ob_min_std=0.1,
    ):
        super().__init__(name, ob_space, ac_space, keep_images=False)
        hid_size, num_hid_layers = (
            check_int_argument("hid_size", hid_size, 1),
            check_int_argument("num_hid_layers", num_hid_layers, 0, MAX_LAYERS),
        )
        vf_hid_size = None if vf_hid_size is None else check_int_argument("vf_hid_size", vf_hid_size, 1)
        shapes = self.shapes(
            ob_space,
            ac_space,
            hid_size,
            num_hid_layers,
            gaussian_fixed_var,
            vf_hid_size=vf_hid_size,
            shared_trunk=shared_trunk,
        )
        check_init(init, init_logstd)
        check_greater("ob_clip", ob_clip, 0)
        check_float("ob_min_std", ob_min_std, 0, 1e30)
        widths = f"hid_size={hid_size}" + ("" if vf_hid_size is None else f", vf_hid_size={vf_hid_size}")
        check_memory(
            4 * sum(map(math.prod, shapes.values())), f"{widths}, num_hid_layers={num_hid_layers}: the network"
        )
        self.hid_size, self.num_hid_layers, self.vf_hid_size = hid_size, num_hid_layers, vf_hid_size
        self.gaussian_fixed_var = bool(gaussian_fixed_var)
        self.init, self.init_logstd, self.shared_trunk = init, float(init_logstd), bool(shared_trunk)
        self.normalise_ob, self.ob_clip, self.ob_min_std = (
            check_bool("normalise_ob", normalise_ob),
            float(ob_clip),
            float(ob_min_std),
        )
        if self.normalise_ob:
            self.ob_rms = RunningMeanStd(self.encoder.shape, min_std=ob_min_std)
        self.free_logstd, (self.num_outputs,) = "pol/logstd" in shapes, shapes["pol/final/b"]
        self.weights = {key: tf.Variable(tf.zeros(shape), name=key) for key, shape in shapes.items()}
        self.initialise(seeding.generator(0, seeding.INITIALISE))

    def settings(self):
        names = (
            "hid_size",
            "num_hid_layers",
            "gaussian_fixed_var",
            "vf_hid_size",
            "init",
            "init_logstd",
            "shared_trunk",
            "normalise_ob",
            "ob_clip",
            "ob_min_std",
        )
        return {name: getattr(self, name) for name in names}

    @classmethod
    def shapes(
        cls,
        ob_space,
        ac_space,
        hid_size=64,
        num_hid_layers=2,
        gaussian_fixed_var=True,
        *,
        vf_hid_size=None,
        shared_trunk=False,
        **others,
    ):
        """{name: shape} of the weights, as `Policy.shapes`; `others` make no difference. UserError for a setting that cannot be."""
        hid_size, num_hid_layers = (
            check_int("hid_size", hid_size, 1),
            check_int("num_hid_layers", num_hid_layers, 0, MAX_LAYERS),
        )
        pdtype = make_pdtype(ac_space)
        free_logstd = check_bool("gaussian_fixed_var", gaussian_fixed_var) and isinstance(pdtype, DiagGaussianPdType)
        num_outputs = pdtype.param_shape()[0] // (2 if free_logstd else 1)
        if vf_hid_size is not None and check_bool("shared_trunk", shared_trunk):
            raise UserError(
                f"vf_hid_size={safe_repr(vf_hid_size)}, but with shared_trunk the value has no hidden layers of its own; leave one of them out"
            )
        vf_hid_size = hid_size if vf_hid_size is None else check_int("vf_hid_size", vf_hid_size, 1)
        inputs, shapes = ObservationEncoder(ob_space, keep_images=False).shape, {}
        for net, width, outputs in (("pol", hid_size, num_outputs), ("vf", vf_hid_size, 1)):
            widths = [*inputs, *[width] * num_hid_layers]
            if net == "pol" or not check_bool("shared_trunk", shared_trunk):
                for i, (fan_in, fan_out) in enumerate(zip(widths, widths[1:]), 1):
                    shapes |= {f"{net}/fc{i}/w": [fan_in, fan_out], f"{net}/fc{i}/b": [fan_out]}
            shapes |= {f"{net}/final/w": [widths[-1], outputs], f"{net}/final/b": [outputs]}
        return shapes | ({"pol/logstd": [num_outputs]} if free_logstd else {})

    def initialise(self, rng):
        """Draw the weights afresh from a NumPy generator; biases are zero."""
        initialise_weights(self.weights, rng, self.init, self.init_logstd)
        if not self.free_logstd and isinstance(self.pdtype, DiagGaussianPdType):
            bias = np.zeros(self.num_outputs, np.float32)
            bias[self.num_outputs // 2 :] = self.init_logstd
            self.weights["pol/final/b"].assign(bias)

    def prepare(self, ob):
        return self.ob_rms.normalise(ob, self.ob_clip) if self.normalise_ob else ob.astype(np.float32)

    def _layers(self, net):
        """Names of a network's layers, the hidden ones and the last."""
        return (*(f"{net}/fc{i}" for i in range(1, self.num_hid_layers + 1)), f"{net}/final")

    @staticmethod
    def _hidden(network, layers, x):
        for layer in layers:
            x = network.dense_tanh(x, layer)
        return x

    def forward(self, ob):
        """(flatparam [N, p], vpred [N]) at normalised observations [N, n], as `Policy.forward`."""
        return self.network(self.weights, ob)

    def network(self, weights, ob):
        """`forward` over `weights`, {name: variable}."""
        network = TensorFlowNetwork(weights)
        *layers, final = self._layers("pol")
        hidden = self._hidden(network, layers, ob)
        flat = network.dense(hidden, final)
        if self.free_logstd:
            flat = tf.concat([flat, tf.broadcast_to(weights["pol/logstd"], tf.shape(flat))], axis=-1)
        vf_hidden = hidden if self.shared_trunk else self._hidden(network, self._layers("vf")[:-1], ob)
        return flat, network.dense(vf_hidden, "vf/final")[:, 0]

    def actor(self, num_envs, noise):
        """As `Policy.actor`, on a NumPy snapshot of the weights with the observation filter folded into the first layer."""
        single = num_envs == 1  # one observation without a batch axis costs half
        weights = {key: v.numpy() for key, v in self.weights.items() if key.startswith("pol/")}
        network = NumpyNetwork(weights, () if single else (num_envs,), *self.encoder.shape)
        pdtype, layers = self.pdtype, self._layers("pol")
        if self.normalise_ob:
            network.fold_normalization(layers[0], self.ob_rms.mean, self.ob_rms.std, self.ob_clip)
        if single and noise is not None:
            noise = noise[:, 0]
        if self.free_logstd:  # the deviation stands still: scale all noise at once, and never compute it again
            scaled = None if noise is None else noise * np.exp(self.weights["pol/logstd"].numpy())

            def choose(flat, t):
                return flat if scaled is None else flat + scaled[t]
        else:

            def choose(flat, t):
                return (
                    pdtype.mode(NumpyOperators, flat)
                    if noise is None
                    else pdtype.sample(NumpyOperators, flat, noise[t])
                )

        *layers, final = layers
        reshape = self.free_logstd and len(pdtype.sample_shape()) != 1

        def act(ob, t):
            ac = choose(network.dense(self._hidden(network, layers, network.read(ob[0] if single else ob)), final), t)
            if reshape:
                ac = pdtype.shaped(ac)
            return np.asarray(ac)[None] if single else ac

        return act
