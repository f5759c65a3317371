"""A policy as a TensorFlow module: its variables, their hash, copies of the module, and its network over other
variables.
"""

from __future__ import annotations

import abc
import copy
import hashlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import tensorflow as tf

from common.policies.inputs.layout import InputLayout, NetworkOutputs


class PolicyVariables(list[Any]):
    """A policy's variables, with the `policy` itself.

    Saving and loading this list includes the policy's observation filter, which consists of variables in Baselines.
    """

    def __init__(self, policy: PolicyModule) -> None:
        super().__init__(policy.variables)
        self.policy = policy


class NetworkView(NetworkOutputs):
    """A policy's network over other variables of the same shapes.

    Args:
        policy: the policy; its class defines `network` and `weights`.
        variables: replacements for those in `policy.weights`, in their order.

    Attributes:
        pdtype, network: the policy's.
        weights: {name: replacement}.
    """

    def __init__(self, policy: Any, variables: Sequence[tf.Variable]) -> None:
        self.pdtype = policy.pdtype
        self._layout: InputLayout = policy.layout
        self.variables = list(variables)
        self.network = policy.network
        self.sequence_network: Any = getattr(policy, "sequence_network", None)
        self.weights = dict(zip(policy.weights, variables))

    @property
    def layout(self) -> InputLayout:
        """The arrangement of the inputs."""
        return self._layout

    def forward(self, ob: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Compute what `Policy.forward` computes."""
        flat, vpred = self.network(self.weights, ob)
        return flat, vpred

    def forward_sequence(
        self, ob: tf.Tensor, start: tf.Tensor, state: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Compute what `Policy.forward_sequence` computes."""
        flat, vpred, states = self.sequence_network(self.weights, ob, start, state)
        return flat, vpred, states


def fingerprint(variables: Iterable[tf.Variable]) -> bytes:
    """Return a hash of the variables' values."""
    digest = hashlib.sha256()
    for v in variables:
        digest.update(np.ascontiguousarray(v.numpy()).data)
    return digest.digest()


class PolicyMeta(abc.ABCMeta):
    """Metaclass of policies: records the weights that a constructor left, so that `learn` can tell initial weights from
    trained ones.
    """

    @property
    def __signature__(cls) -> inspect.Signature:
        """The constructor's signature, which `inspect` and `help` would not find behind `__call__`."""
        signature = inspect.signature(cls.__init__)  # type: ignore[misc]
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        pi = super().__call__(*args, **kwargs)
        pi.mark_as_initial()
        return pi


class PolicyModule(tf.Module, metaclass=PolicyMeta):
    """A tf.Module that can be copied and pickled, and knows whether its variables are as its constructor left them."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self._compiled: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]] | None = None
        self._initial_fingerprint: bytes | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return all attributes but the compiled function, which a copy compiles itself."""
        return self.__dict__ | {"_compiled": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)

    def __copy__(self) -> Self:
        """Copy deeply: a copy that shared variables would be trained with its original."""
        return copy.deepcopy(self)

    def mark_as_initial(self) -> None:
        """Record the current weights as those that the constructor left."""
        self._initial_fingerprint = fingerprint(self.variables)

    def is_untouched(self) -> bool:
        """Whether the variables are as the constructor left them: not loaded, trained or assigned since."""
        return self._initial_fingerprint is not None and self._initial_fingerprint == fingerprint(self.variables)

    def get_variables(self) -> PolicyVariables:
        """Return all variables; `tf_util.save_variables` of this list includes the observation filter."""
        return PolicyVariables(self)

    def get_trainable_variables(self) -> list[tf.Variable]:
        """Return the trainable variables, in a fixed order."""
        return list(self.trainable_variables)
