"""What every policy can do, and what one of your own must bring.

A policy of your own derives from `Policy`, makes its `tf.Variable`s in `__init__`, and defines `forward(ob)`. What it may add:
`initialise(rng)`, so that a seed decides its weights; `prepare(ob)`, such as a normalisation; `actor()`, if it can act without
TensorFlow; `settings()`, so that `save` and `load` know how to build it again.
"""

import abc
import copy
import hashlib
import inspect
import json

import numpy as np
import tensorflow as tf

from common.compilation import Shared
from common.distributions import make_pdtype
from common.errors import UserError
from common.formatting import safe_repr
from common.policies import space_serialization
from common.policies.actor import Actor
from common.policies.files import FORMAT, build_policy, find_policy, read_policy
from common.policies.networks import NumpyOperators
from common.policies.observation_encoder import ObservationEncoder
from common.storage.array_files import check_arrays, save_arrays
from common.storage.json_values import to_json
from common.storage.paths import file_path
from common.storage.write_errors import raises_write_error
from common.tf_util import by_name
from common.validation import error_prefix


class PolicyVariables(list):
    """A policy's variables, which know their `policy`: its observation filter, variables in Baselines, is saved and loaded with them."""

    def __init__(self, policy):
        super().__init__(policy.variables)
        self.policy = policy


class NetworkOver:
    """A policy's network over other variables of the same shapes.

    Args:
        policy: the policy.
        variables: in place of those in its `weights`, in their order.
    """

    def __init__(self, policy, variables):
        self.pdtype, self.variables = policy.pdtype, list(variables)
        self._network, self._weights = policy.network, dict(zip(policy.weights, variables))

    def forward(self, ob):
        """As `Policy.forward`."""
        return self._network(self._weights, ob)


class PolicyType(abc.ABCMeta):
    """The class of policies' classes: a new policy takes note of the weights that its constructor left, so that `learn` can tell them from trained ones."""

    @property
    def __signature__(cls):
        """The constructor's, which `inspect` and `help` would not find behind `__call__`."""
        found = inspect.signature(cls.__init__)
        return found.replace(parameters=list(found.parameters.values())[1:])

    def __call__(cls, *args, **kwargs):
        pi = super().__call__(*args, **kwargs)
        pi._as_built = pi._fingerprint()
        return pi


class Policy(tf.Module, metaclass=PolicyType):
    """A stochastic policy with a value function.

    Args:
        name: 'pi' or 'oldpi', as Baselines' `policy_fn` gets it.
        ob_space, ac_space: Gymnasium spaces.
        keep_images: False makes a vector of an image observation.

    Attributes:
        encoder: turns the environment's observations into arrays [N, *encoder.shape].
        pdtype: the kind of distribution over actions.
        ob_rms: running mean and standard deviation of the observations, or None. The training updates it.
        xla: whether XLA compiles `forward` in the update; False where it has no kernel or a slower one.
        minibatch_parts: parts of a minibatch whose gradients are computed side by side.
        older_settings: {name: value} of settings that a file may lack, because it is older than they are, where that is not their default.
        terms_rows: rows of a segment, evenly spaced, on which losses and KL are measured after an update, for the log and for adaptive_kl; None: all.
    """

    # TensorFlow, which looks for variables in all attributes, sorts the keys of a Dict space, and those of two types cannot be sorted
    _TF_MODULE_IGNORED_PROPERTIES = tf.Module._TF_MODULE_IGNORED_PROPERTIES | {
        "ob_space",
        "ac_space",
        "encoder",
        "pdtype",
    }

    recurrent = False
    xla = True
    num_microbatches = 1
    metrics_rows = None
    older_settings = {}

    def __init__(self, name, ob_space, ac_space, keep_images=True):
        super().__init__(name=name)
        self.ob_space, self.ac_space = ob_space, ac_space
        self.encoder = ObservationEncoder(ob_space, keep_images)
        self.pdtype = make_pdtype(ac_space)
        self.ob_rms = None
        self.rng = np.random.default_rng()
        self._compiled = self._as_built = None

    # ---- copies

    def __getstate__(self):
        """What a copy has, also one that is pickled: everything but compiled functions, which it makes anew."""
        return vars(self) | {"_compiled": None}

    def __setstate__(self, state):
        vars(self).update(state)

    def __copy__(self):
        """As `copy.deepcopy`: a copy that shared variables would be trained with its original."""
        return copy.deepcopy(self)

    def _fingerprint(self):
        """A hash of all variables' values."""
        found = hashlib.sha256()
        for v in self.variables:
            found.update(np.ascontiguousarray(v.numpy()).data)
        return found.digest()

    def is_untouched(self):
        """Whether the variables are as the constructor left them: neither loaded, trained nor assigned since."""
        return self._as_built is not None and self._as_built == self._fingerprint()

    def forward(self, ob):
        """The network: prepared observations [N, ...] -> (flatparam [N, p], vpred [N]), float32 tensors.

        Traced without AutoGraph: write `tf.where`, `tf.cond` and `tf.while_loop`, not `if` and `while`, where a tensor decides.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no forward(ob)")

    def shared(self, key, of_network):
        """How trainings with a policy like this one share a compiled function (`common.compilation`).

        Args:
            key: what decides the function beside the policy.
            of_network: function (object with `forward` and `pdtype`) -> the graph function over it.

        Returns:
            A `Shared`; None for a class that does not say that its `network` depends on its settings and spaces alone: a derived class may differ.
        """
        if not vars(type(self)).get("network_is_pure") or "forward" in vars(self):  # which a user may have replaced
            return None
        own = (type(self), json.dumps(self.description(), sort_keys=True, default=str), self.xla)
        return Shared(
            (own, key), list(self.weights.values()), lambda variables: of_network(NetworkOver(self, variables))
        )

    def prepare(self, ob):
        """Encoded observations [N, *encoder.shape] -> the network's input, NumPy; once an observation, not once an epoch."""
        return ob

    def settings(self):
        """The keyword arguments that build this policy again."""
        return {}

    @classmethod
    def shapes(cls, ob_space, ac_space, **settings):
        """{name: shape} of the variables that a policy with these `settings` has, of which nothing is made; None: not known.

        With it `load` refuses a file whose settings are not those of its arrays before it builds, however large they say the network is.
        """
        return None

    def _outputs(self, x):
        """(flatparam, vpred) at prepared observations: traced once, for batches of any size."""
        if self._compiled is None:
            signature = [tf.TensorSpec([None, *x.shape[1:]], x.dtype)]
            # past TensorFlow's __setattr__, which would note it among what a checkpoint of its own depends on, where no copy could leave it out
            vars(self)["_compiled"] = tf.function(
                self.forward, input_signature=signature, autograph=False
            ).get_concrete_function()
        return self._compiled(tf.convert_to_tensor(x))

    # ---- acting

    def actor(self, num_envs, noise):
        """How to act for one segment, during which the policy does not change.

        Args:
            num_envs: K.
            noise: [T, K, ...] as `pdtype.noise` draws it, or None for the most likely actions.

        Returns:
            A function (encoded observations [K, ...], time step t) -> actions [K, ...], NumPy; or an `Actor`, if the training can
            use the outputs that it computed.
        """
        return Actor(self, noise)

    def _choose(self, flat, noise):
        return (
            self.pdtype.mode(NumpyOperators, flat) if noise is None else self.pdtype.sample(NumpyOperators, flat, noise)
        )

    def act(self, stochastic, ob):
        """Action and value for one observation or a batch.

        Args:
            stochastic: sample, or take the most likely action.
            ob: one observation of `ob_space`, or a batch of them.

        Returns:
            (ac, vpred): without a batch axis if `ob` had none. Actions are not clipped to a Box.

        Raises:
            UserError: if `ob` fits neither.
        """
        ob, batched = self.encoder.single_or_batch(ob)
        flat, vpred = (x.numpy() for x in self._outputs(self.prepare(ob)))
        ac = self._choose(flat, self.pdtype.noise(self.rng, (len(ob),)) if stochastic else None)
        return (ac, vpred) if batched else (ac[0], vpred[0])

    def pd(self, ob):
        """The distributions over actions at a batch of observations."""
        return self.pdtype.pdfromflat(self._outputs(self.prepare(self.encoder.single_or_batch(ob)[0]))[0])

    def vpred(self, ob):
        """V at a batch of observations, [N] float32 NumPy."""
        return self.values(self.encoder.single_or_batch(ob)[0])

    def values(self, encoded):
        """V at encoded observations [N, *encoder.shape], [N] float32 NumPy."""
        return self._outputs(self.prepare(encoded))[1].numpy()

    # ---- variables

    def get_variables(self):
        """All `tf.Variable`s."""
        return PolicyVariables(self)

    def get_trainable_variables(self):
        """The trainable ones, in a fixed order."""
        return list(self.trainable_variables)

    def state(self):
        """All variables and the observation filter, as arrays by name."""
        arrays = {name: v.numpy() for name, v in by_name(self.get_variables()).items()}
        if self.ob_rms is not None:
            arrays |= {f"ob_rms/{name}": x for name, x in self.ob_rms.state().items()}
        return arrays

    def restore(self, arrays, source="checkpoint"):
        """Take over what `state` gave; UserError if it is another model's."""
        check_arrays(source, arrays, self.state())
        self._as_built = None
        for name, v in by_name(self.get_variables()).items():
            v.assign(arrays[name])
        if self.ob_rms is not None:
            with error_prefix(source):
                self.ob_rms.restore({name: arrays[f"ob_rms/{name}"] for name in self.ob_rms.state()})

    # ---- files

    def description(self):
        """What it takes to build this policy again, of JSON's own types: class, settings, spaces.

        Raises:
            UserError: naming the setting, or the space, that JSON has no form for.
        """
        name = type(self).__name__
        return {
            "class": name,
            "settings": {key: to_json(x, f"{name}.settings(): {key}") for key, x in self.settings().items()},
            "ob_space": space_serialization.to_json(self.ob_space),
            "ac_space": space_serialization.to_json(self.ac_space),
        }

    def save(self, path, **extra):
        """Write the policy, its observation filter and its spaces to one safetensors file, whose folder is made. `extra` goes into its metadata, as JSON.

        Raises:
            UserError: if `path` is none of a file; for an `extra` that JSON has no form for, or whose name is taken by what describes the policy.
            WriteError: if the system refuses.
        """
        own = {"format": FORMAT, **self.description()}
        if taken := sorted(own.keys() & extra.keys()):
            raise UserError(
                f"save({taken[0]}={safe_repr(extra[taken[0]])}) would hide what the file says of the policy; give it another name"
            )
        with raises_write_error(path):
            path = file_path(path)
        save_arrays(path, self.state(), own | extra)

    def restore_from(self, path):
        """Take over weights and filter of a policy like this one, from wherever `load` finds it; UserError if it is another model's, or there is none."""
        path = find_policy(path)
        self.restore(read_policy(path)[0], path)

    @classmethod
    def load(cls, path, name="pi"):
        """The policy of a file that `save` wrote, of a training's checkpoint or of a run's folder, in a process that may never have trained.

        Raises:
            UserError: if there is none, or the file is damaged, holds a policy of another class, or describes another than it holds.
        """
        path = find_policy(path)
        return build_policy(cls, path, *read_policy(path), name)
