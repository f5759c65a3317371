"""The base class of all policies, and what a custom policy has to define.

A custom policy derives from `Policy`, makes its `tf.Variable`s in `__init__` and defines `forward(ob)`. It may add:

- `initialise(rng)`, so that a seed determines its weights;
- `prepare(ob)`, such as a normalisation;
- `actor()`, if it can act without TensorFlow;
- `settings()`, so that `save` and `load` can build it again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from common.compilation import Shared
from common.distributions import Pd, make_pdtype
from common.policies.actor import Actor, choose_actions
from common.policies.observation_encoder import ObservationEncoder
from common.policies.storable import StorablePolicy
from common.policies.variables import NetworkView
from common.space_tree import is_composite, is_continuous
from common.validation import check_bool
from common.vec_env.actions import ActionStructure


class Policy(StorablePolicy):
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

    def __init__(self, name: str, ob_space: gym.Space[Any], ac_space: gym.Space[Any], keep_images: bool = True) -> None:
        super().__init__(name, ob_space, ac_space)
        self.encoder = ObservationEncoder(ob_space, keep_images)
        self.pdtype = make_pdtype(ac_space)
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
        """Turn encoded observations into the network's input, in NumPy, once per observation and not once per epoch.

        Args:
            ob: [N, *encoder.shape], in the encoder's dtype.

        Returns:
            [N, ...], what `forward` takes.
        """
        return ob

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
            (ac, vpred): [N, *sample_shape] in the distribution's dtype and [N] float32, without the batch axis if `ob`
            had none. Actions are not clipped to a Box; `predict` returns clipped ones.

        Raises:
            UserError: if `ob` is neither.
        """
        obs, is_batch = self.encoder.single_or_batch(ob)
        flat, vpred = (x.numpy() for x in self.compiled_forward(self.prepare(obs)))
        ac = choose_actions(self.pdtype, flat, self.pdtype.noise(self.rng, (len(obs),)) if stochastic else None)
        return (ac, vpred) if is_batch else (ac[0], vpred[0])

    def predict(self, ob: Any, deterministic: bool = False) -> Any:
        """Return the action to take, for one observation or a batch, as an environment's `step` accepts it.

        Args:
            ob: one observation of `ob_space`, or a batch.
            deterministic: take the most likely action; otherwise sample.

        Returns:
            An action of `ac_space`, or a batch [N, ...], in the dtype of the space. For one observation, an action of a
            Discrete space is a NumPy scalar. Actions of a Box are clipped to its bounds; `act` returns them unclipped.
            Actions of a Dict or Tuple have its structure, with batched leaves for a batch; `act` returns vectors.

        Raises:
            UserError: if `ob` is neither, or `deterministic` is not a bool.
        """
        actions = self.act(not check_bool("deterministic", deterministic), ob)[0]
        space = self.ac_space
        if is_composite(space):
            return ActionStructure(space).batch(actions)
        if is_continuous(space):
            actions = np.clip(actions, space.low, space.high)
        return np.asarray(actions)[()].astype(space.dtype)

    def pd(self, ob: Any) -> Pd:
        """Return the distributions over actions at observations.

        Args:
            ob: one observation of `ob_space`, or a batch.

        Returns:
            A batch of N distributions; N is 1 for one observation.

        Raises:
            UserError: if `ob` is neither.
        """
        return self.pdtype.pdfromflat(self.compiled_forward(self.prepare(self.encoder.single_or_batch(ob)[0]))[0])

    def vpred(self, ob: Any) -> np.ndarray:
        """Return the values at observations, [N] float32; N is 1 for one observation.

        Args:
            ob: one observation of `ob_space`, or a batch.

        Raises:
            UserError: if `ob` is neither.
        """
        return self.values(self.encoder.single_or_batch(ob)[0])

    def values(self, encoded: np.ndarray) -> np.ndarray:
        """Return the values at encoded observations [N, *encoder.shape], [N] float32."""
        vpred: np.ndarray = self.compiled_forward(self.prepare(encoded))[1].numpy()
        return vpred
