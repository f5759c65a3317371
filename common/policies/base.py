"""The base class of all policies, and what a custom policy has to define.

A custom policy derives from `Policy`, makes its `tf.Variable`s in `__init__` and defines `forward(ob)`. It may add:

- `initialise(rng)`, so that a seed determines its weights;
- `prepare(ob)`, such as a normalisation;
- `actor()`, if it can act without TensorFlow;
- `state_size` and `forward_sequence(ob, start, state)` instead of `forward`, if it has a memory;
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
from common.distributions import make_pdtype
from common.envs.mask_layout import ACTION_MASK, OBSERVATION
from common.policies.actor import Act, ActingPolicy, Actor, MemoryActor
from common.policies.inputs.layout import InputLayout
from common.policies.inputs.masks import MaskedEncoder, without_mask
from common.policies.inputs.memory import Memory
from common.policies.observation_encoder import ObservationEncoder
from common.policies.variables import NetworkView


class Policy(ActingPolicy):
    """A stochastic policy with a value function.

    Args:
        name: 'pi' or 'oldpi', the name that Baselines' `policy_fn` receives.
        ob_space: Gymnasium space of the observations.
        ac_space: Gymnasium space of the actions.
        keep_images: False turns an image observation into a vector.

    Attributes:
        encoder: turns the environment's observations into arrays [N, *encoder.shape].
        network_space: space of the observations that the network sees: without the action mask, if there is one.
        network_encoder: their encoder.
        masked: whether observations contain an action mask.
        state_size: entries of the memory's state; 0 for a policy without memory.
        pdtype: the kind of distribution over actions.
        ob_rms: running mean and standard deviation of the observations, or None; the training updates it.
        xla: whether XLA compiles `forward` in the update; False if it has no kernel or a slower one.
        num_microbatches: into how many parts a minibatch is split, whose gradients are computed concurrently.
        memory_steps: steps of one sequence of the update, for a policy with a memory.
        metrics_rows: how many samples of a segment, evenly spaced, are used to measure losses and KL after an update,
            for the log and for the adaptive KL penalty; None: all.
    """

    # TensorFlow searches all attributes for variables. It sorts the keys of a Dict space, which fails for keys of two
    # types.
    _TF_MODULE_IGNORED_PROPERTIES = tf.Module._TF_MODULE_IGNORED_PROPERTIES | {
        "ob_space",
        "ac_space",
        "encoder",
        "network_space",
        "network_encoder",
        "pdtype",
    }

    xla: bool = True
    num_microbatches: int = 1
    memory_steps: int = 1
    metrics_rows: int | None = None

    def __init__(self, name: str, ob_space: gym.Space[Any], ac_space: gym.Space[Any], keep_images: bool = True) -> None:
        super().__init__(name, ob_space, ac_space)
        self.pdtype = make_pdtype(ac_space)
        self.network_space = without_mask(ob_space, self.pdtype)
        self.network_encoder = self.make_encoder(self.network_space, keep_images)
        self.masked = self.network_space is not ob_space
        self.encoder = MaskedEncoder(ob_space, self.network_encoder) if self.masked else self.network_encoder

    @classmethod
    def make_encoder(cls, space: gym.Space[Any], keep_images: bool) -> ObservationEncoder:
        """Return the encoder of the observations that the network sees."""
        return ObservationEncoder(space, keep_images)

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

    def forward_sequence(
        self, ob: tf.Tensor, start: tf.Tensor, state: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Compute the network of a policy with a memory, over R sequences of L steps; traced like `forward`.

        Args:
            ob: prepared observations, [R, L, ...].
            start: [R, L] bool, whether a step is the first of its episode: the state before it is forgotten.
            state: [R, state_size] float32, before the first step; zeros in an episode's first step.

        Returns:
            (flatparam [R, L, p], vpred [R, L], states after each step [R, L, state_size]), float32.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no forward_sequence(ob, start, state)")

    def in_float32(self) -> Policy:
        """Return this policy with all products in float32, over the same variables, for exports: itself, unless a
        derived class computes some in another precision.
        """
        return self

    def prepare(self, ob: np.ndarray) -> Any:
        """Turn encoded observations into the network's input, in NumPy, once per observation and not once per epoch.

        Args:
            ob: [N, *network_encoder.shape], in that encoder's dtype.

        Returns:
            [N, ...], what `forward` takes.
        """
        return ob

    @property
    def layout(self) -> InputLayout:
        """The arrangement of the network's input."""
        layout: InputLayout | None = self.__dict__.get("_layout")
        if layout is None:
            x = self.prepare(np.zeros((1, *self.network_encoder.shape), self.network_encoder.dtype))
            num_choices = self.pdtype.num_choices() if self.masked else 0
            layout = InputLayout(x.dtype, x.shape[1:], num_choices, self.state_size)
            # TensorFlow's __setattr__ would search it for variables
            self.__dict__["_layout"] = layout
        return layout

    def inputs(self, encoded: np.ndarray) -> Any:
        """Return the network's input for encoded observations [..., *encoder.shape], one row for each.

        Without masks it is the prepared observation. For a policy with a memory, `InputLayout.sequences` joins the rows
        of consecutive steps.
        """
        if not self.masked:
            return self.prepare(encoded)
        return self.layout.steps(self.prepare(encoded[OBSERVATION]), encoded[ACTION_MASK])

    def example_input(self) -> Any:
        """Return one row of the argument of `outputs`: zeros, with a memory as a sequence of one step."""
        steps = self.inputs(np.zeros((1, *self.encoder.shape), self.encoder.dtype))
        if not self.recurrent:
            return steps
        return self.layout.sequences(steps[:, None], np.ones((1, 1), bool), np.zeros((1, self.state_size), np.float32))

    def normalised_part(self, encoded: np.ndarray) -> np.ndarray:
        """Return the part of encoded observations [N, ...] of which `ob_rms` keeps statistics."""
        part: np.ndarray = encoded[OBSERVATION] if self.masked else encoded
        return part

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

    def compiled_outputs(self, x: Any) -> Any:
        """Compute `outputs` at inputs [N, ...], or `outputs_and_states` with a memory, in one compiled call.

        It is traced once for all batch sizes.
        """
        compiled = self._compiled
        if compiled is None:
            signature = [tf.TensorSpec([None, *x.shape[1:]], x.dtype)]
            graph = self.outputs_and_states if self.recurrent else self.outputs
            compiled = tf.function(graph, input_signature=signature, autograph=False).get_concrete_function()
            # TensorFlow's __setattr__ would make it a checkpoint dependency, which a copy could not leave out
            self.__dict__["_compiled"] = compiled
        return compiled(tf.convert_to_tensor(x))

    # ---- acting

    def actor(self, num_envs: int, noise: np.ndarray | None) -> Act:
        """Return how to act for one segment, during which the weights do not change.

        Args:
            num_envs: K.
            noise: [T, K, ...], as `pdtype.noise` draws it; None for the most likely actions.

        Returns:
            A function (encoded observations [K, ...], time step t) -> actions [K, ...], NumPy. An `Actor` also keeps
            the outputs of its network, so that they are not computed again.
        """
        return Actor(self, noise)

    def memory_actor(self, noise: np.ndarray | None, memory: Memory) -> Act:
        """Return how to act for one segment with a memory, as `actor` does without.

        Args:
            noise: as for `actor`.
            memory: of the K environments; each call of the returned function advances it.
        """
        return MemoryActor(self, noise, memory)
