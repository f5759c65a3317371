"""A policy's variables: listed with their policy, replaced by others of the same shapes, and hashed."""

from __future__ import annotations

import abc
import hashlib
import inspect
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from common.policies.base import Policy


class PolicyVariables(list[Any]):
    """A policy's variables, with the `policy` itself.

    Saving and loading this list includes the policy's observation filter, which consists of variables in Baselines.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy.variables)
        self.policy = policy


class NetworkView:
    """A policy's network over other variables of the same shapes.

    Args:
        policy: the policy; its class defines `network` and `weights`.
        variables: replacements for those in `policy.weights`, in their order.
    """

    def __init__(self, policy: Any, variables: Sequence[tf.Variable]) -> None:
        self.pdtype = policy.pdtype
        self.variables = list(variables)
        self._network = policy.network
        self._weights = dict(zip(policy.weights, variables))

    def forward(self, ob: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Compute what `Policy.forward` computes."""
        flat, vpred = self._network(self._weights, ob)
        return flat, vpred


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
