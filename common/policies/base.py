"""The base class of all policies, and what a custom policy has to define.

A custom policy derives from `Policy`, makes its `tf.Variable`s in `__init__` and defines `forward(ob)`. It may add:

- `initialise(rng)`, so that a seed determines its weights;
- `prepare(ob)`, such as a normalisation;
- `actor()`, if it can act without TensorFlow;
- `settings()`, so that `save` and `load` can build it again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import gymnasium as gym
import numpy as np
import tensorflow as tf

from common.compilation import Shared
from common.distributions import Pd, make_pdtype
from common.errors import UserError
from common.formatting import safe_repr
from common.policies import space_serialization
from common.policies.actor import Actor, choose_actions
from common.policies.files import FORMAT, build_policy, read_policy
from common.policies.locate import find_policy
from common.policies.observation_encoder import ObservationEncoder
from common.policies.variables import NetworkView, PolicyModule
from common.running_mean_std import RunningMeanStd
from common.storage.array_files import check_arrays, save_arrays
from common.storage.json_values import to_json
from common.storage.paths import file_path
from common.storage.write_errors import raises_write_error
from common.tf_util import variables_by_name
from common.validation import error_prefix

UserPath = str | bytes | os.PathLike[str]


class Policy(PolicyModule):
    """A stochastic policy with a value function.

    Args:
        name: 'pi' or 'oldpi', the name that Baselines' `policy_fn` receives.
        ob_space: Gymnasium space of the observations.
        ac_space: Gymnasium space of the actions.
        keep_images: False turns an image observation into a vector.

    Attributes:
        encoder: turns the environment's observations into arrays [N, *encoder.shape].
        pdtype: the kind of distribution over actions.
        ob_rms: running mean and standard deviation of the observations, or None; the training updates it.
        xla: whether XLA compiles `forward` in the update; False if it has no kernel or a slower one.
        num_microbatches: into how many parts a minibatch is split, whose gradients are computed concurrently.
        metrics_rows: how many samples of a segment, evenly spaced, are used to measure losses and KL after an update,
            for the log and for the adaptive KL penalty; None: all.
        legacy_defaults: {name: value} of settings that files of older versions lack, if the value differs from the
            default.
    """

    # TensorFlow searches all attributes for variables. It sorts the keys of a Dict space, which fails for keys of two
    # types.
    _TF_MODULE_IGNORED_PROPERTIES = tf.Module._TF_MODULE_IGNORED_PROPERTIES | {
        "ob_space",
        "ac_space",
        "encoder",
        "pdtype",
    }

    recurrent: bool = False
    xla: bool = True
    num_microbatches: int = 1
    metrics_rows: int | None = None
    legacy_defaults: Mapping[str, Any] = {}

    def __init__(self, name: str, ob_space: gym.Space[Any], ac_space: gym.Space[Any], keep_images: bool = True) -> None:
        super().__init__(name=name)
        self.ob_space = ob_space
        self.ac_space = ac_space
        self.encoder = ObservationEncoder(ob_space, keep_images)
        self.pdtype = make_pdtype(ac_space)
        self.ob_rms: RunningMeanStd | None = None
        self.rng = np.random.default_rng()

    # ---- network

    def forward(self, ob: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Compute the network.

        It is traced without AutoGraph: if a tensor decides, write `tf.where`, `tf.cond` or `tf.while_loop`, not `if` or
        `while`.

        Args:
            ob: prepared observations, [N, ...].

        Returns:
            (flatparam [N, p], vpred [N]), float32.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no forward(ob)")

    def dense_layers(self) -> tuple[str, ...]:
        """Return the names of the dense layers from which flatparam is computed, in order, for K-FAC.

        Only a policy whose `network(weights, ob, network)` computes them by `network.dense` has some. `weights` has
        `<layer>/w` and `<layer>/b` of each, and flatparam depends on no other variable but `pol/logstd`.
        """
        return ()

    def prepare(self, ob: np.ndarray) -> Any:
        """Turn encoded observations [N, *encoder.shape] into the network's input, in NumPy, once per observation and
        not once per epoch.
        """
        return ob

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments that build this policy again."""
        return {}

    @classmethod
    def variable_shapes(
        cls, ob_space: gym.Space[Any], ac_space: gym.Space[Any], **settings: Any
    ) -> Mapping[str, Sequence[int]] | None:
        """Return {name: shape} of the variables that a policy with these `settings` has, without building anything;
        None if unknown.

        With it, `load` refuses a file whose settings do not match its arrays before it builds the network, however
        large the settings make it.
        """
        return None

    def shared(self, key: Any, of_network: Callable[[NetworkView], Callable[..., Any]]) -> Shared | None:
        """Describe how trainings with equal policies can share a compiled function (`common.compilation`).

        Args:
            key: everything but the policy that determines the function.
            of_network: takes an object with `forward` and `pdtype` and returns the graph function over it.

        Returns:
            None if the class does not declare that its `network` depends on its settings and spaces alone; a derived
            class may differ.
        """
        has_own_forward = "forward" in vars(self)  # a user may have replaced it
        if not vars(type(self)).get("network_is_pure") or has_own_forward:
            return None
        policy_key = (type(self), json.dumps(self.spec(), sort_keys=True, default=str), self.xla)
        variables = list(self.weights.values())
        return Shared((policy_key, key), variables, lambda variables: of_network(NetworkView(self, variables)))

    def compiled_forward(self, x: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Compute `forward` at prepared observations [N, ...] in one compiled call, traced once for all batch sizes."""
        compiled = self._compiled
        if compiled is None:
            signature = [tf.TensorSpec([None, *x.shape[1:]], x.dtype)]
            function = tf.function(self.forward, input_signature=signature, autograph=False)
            compiled = function.get_concrete_function()
            # TensorFlow's __setattr__ would make it a checkpoint dependency, which a copy could not leave out
            self.__dict__["_compiled"] = compiled
        return compiled(tf.convert_to_tensor(x))

    # ---- acting

    def actor(self, num_envs: int, noise: np.ndarray | None) -> Callable[[np.ndarray, int], np.ndarray]:
        """Return how to act for one segment, during which the weights do not change.

        Args:
            num_envs: K.
            noise: [T, K, ...], as `pdtype.noise` draws it; None for the most likely actions.

        Returns:
            A function (encoded observations [K, ...], time step t) -> actions [K, ...], NumPy. An `Actor` also keeps
            the outputs of its network, so that they are not computed again.
        """
        return Actor(self, noise)

    def act(self, stochastic: bool, ob: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return action and value for one observation or a batch.

        Args:
            stochastic: sample, or take the most likely action.
            ob: one observation of `ob_space`, or a batch.

        Returns:
            (ac, vpred): without a batch axis if `ob` had none. Actions are not clipped to a Box.

        Raises:
            UserError: if `ob` is neither.
        """
        obs, is_batch = self.encoder.single_or_batch(ob)
        flat, vpred = (x.numpy() for x in self.compiled_forward(self.prepare(obs)))
        ac = choose_actions(self.pdtype, flat, self.pdtype.noise(self.rng, (len(obs),)) if stochastic else None)
        return (ac, vpred) if is_batch else (ac[0], vpred[0])

    def pd(self, ob: Any) -> Pd:
        """Return the distributions over actions at a batch of observations."""
        return self.pdtype.pdfromflat(self.compiled_forward(self.prepare(self.encoder.single_or_batch(ob)[0]))[0])

    def vpred(self, ob: Any) -> np.ndarray:
        """Return the values at a batch of observations, [N] float32."""
        return self.values(self.encoder.single_or_batch(ob)[0])

    def values(self, encoded: np.ndarray) -> np.ndarray:
        """Return the values at encoded observations [N, *encoder.shape], [N] float32."""
        vpred: np.ndarray = self.compiled_forward(self.prepare(encoded))[1].numpy()
        return vpred

    # ---- variables

    def state(self) -> dict[str, np.ndarray]:
        """Return all variables and the observation filter, as arrays by name."""
        arrays: dict[str, np.ndarray] = {name: v.numpy() for name, v in variables_by_name(self.get_variables()).items()}
        if self.ob_rms is not None:
            arrays |= {f"ob_rms/{name}": x for name, x in self.ob_rms.state().items()}
        return arrays

    def restore(self, arrays: Mapping[str, np.ndarray], source: str | os.PathLike[str] = "checkpoint") -> None:
        """Load what `state` returned.

        Args:
            arrays: by name.
            source: where they come from, for errors.

        Raises:
            UserError: if they are another model's.
        """
        check_arrays(source, arrays, self.state())
        self._initial_fingerprint = None
        for name, v in variables_by_name(self.get_variables()).items():
            v.assign(arrays[name])
        if self.ob_rms is not None:
            with error_prefix(source):
                self.ob_rms.restore({name: arrays[f"ob_rms/{name}"] for name in self.ob_rms.state()})

    # ---- files

    def spec(self) -> dict[str, Any]:
        """Return what is needed to build this policy again, as JSON types: class, settings, spaces.

        Raises:
            UserError: naming the setting or the space that JSON cannot represent.
        """
        name = type(self).__name__
        return {
            "class": name,
            "settings": {key: to_json(x, f"{name}.settings(): {key}") for key, x in self.settings().items()},
            "ob_space": space_serialization.to_json(self.ob_space),
            "ac_space": space_serialization.to_json(self.ac_space),
        }

    def save(self, path: UserPath, **extra: Any) -> None:
        """Write the policy, its observation filter and its spaces to one safetensors file, and create its directory.

        Args:
            path: the file.
            extra: more entries for its metadata, as JSON.

        Raises:
            UserError: if `path` cannot name a file, or `extra` has a value that JSON cannot represent or a reserved
                name.
            WriteError: if the system refuses.
        """
        metadata = {"format": FORMAT, **self.spec()}
        if reserved := sorted(metadata.keys() & extra.keys()):
            name = reserved[0]
            raise UserError(
                f"invalid save({name}={safe_repr(extra[name])}): {name} is reserved for the policy's own description; "
                "choose another name"
            )
        with raises_write_error(str(path)):
            file = file_path(path)
        save_arrays(file, self.state(), metadata | extra)

    def restore_from(self, path: UserPath) -> None:
        """Load weights and filter of a policy like this one, from any path that `load` accepts.

        Raises:
            UserError: if there is no policy, or it is another model's.
        """
        file = find_policy(path)
        self.restore(read_policy(file)[0], file)

    @classmethod
    def load(cls, path: UserPath, name: str = "pi") -> Self:
        """Load a policy of this class, in a process that need not have trained it.

        Args:
            path: a file that `save` wrote, a training's checkpoint, or a run directory.
            name: of the policy.

        Raises:
            UserError: if there is no policy, or the file is corrupt, inconsistent or of another class.
        """
        file = find_policy(path)
        arrays, metadata = read_policy(file)
        return build_policy(cls, file, arrays, metadata, name)
