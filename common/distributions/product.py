"""Products of distributions of several kinds, for Dict and Tuple."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import tensorflow as tf

from common.distributions.array_ops import Array, Entries, Joined, Operators, TensorFlowOperators
from common.distributions.base import Pd, PdType
from common.distributions.bernoulli import BernoulliPdType
from common.distributions.categorical import CategoricalPdType, MultiCategoricalPdType
from common.distributions.gaussian import DiagGaussianPdType


class Group(NamedTuple):
    """All leaves of one kind, as one distribution.

    Attributes:
        pdtype: the distribution of the group.
        flat: its entries of flatparam.
        actions: its entries of an action.
        choices: its entries of a mask.
        noise: its entries of the noise.
    """

    pdtype: PdType
    flat: Entries
    actions: Entries
    choices: Entries
    noise: Entries


class ProductPd(Pd):
    """Products of independent distributions. The parameters are those of the leaves, concatenated."""

    pdtype: ProductPdType

    def __init__(self, pdtype: ProductPdType, flat: tf.Tensor) -> None:
        super().__init__(pdtype, flat)
        self.parts = [
            group.pdtype.pdfromflat(group.flat.take(TensorFlowOperators, self.flat)) for group in pdtype.groups
        ]

    def logp(self, x: Array) -> tf.Tensor:
        """Return the log probability of actions `x` [..., n] in nats, [...]: the sum over the leaves."""
        x = tf.convert_to_tensor(x)
        return tf.add_n(
            [
                part.logp(group.actions.take(TensorFlowOperators, x))
                for part, group in zip(self.parts, self.pdtype.groups)
            ]
        )

    def kl(self, other: ProductPd) -> tf.Tensor:
        """Return KL(self || other) in nats, [...]: the sum over the leaves."""
        return tf.add_n([part.kl(other_part) for part, other_part in zip(self.parts, other.parts)])

    def entropy(self) -> tf.Tensor:
        """Return the entropy in nats, [...]: the sum over the leaves."""
        return tf.add_n([part.entropy() for part in self.parts])


class ProductPdType(PdType):
    """Product of independent distributions, one for each leaf of a Dict or Tuple, nested ones included.

    An action is a vector [n] of float64, which represents int32 and float32 exactly: the leaves' actions, flattened and
    concatenated in the order of `gymnasium.spaces.flatten`. Parameters and masks are concatenated in the same order.
    Leaves of one kind are computed as one distribution, so the graph does not grow with their number.

    Args:
        space: the Dict or Tuple.
        leaves: the distributions of its leaves, in order; none is a product.
    """

    pd_class = ProductPd

    def __init__(self, space: gym.Space[Any], leaves: Sequence[PdType]) -> None:
        super().__init__(space)
        self.leaves = tuple(leaves)
        kinds: dict[Callable[[Sequence[Any]], PdType], list[int]] = {}
        for i, leaf in enumerate(self.leaves):
            kinds.setdefault(_merger(leaf), []).append(i)
        sizes = [leaf.param_shape()[0] for leaf in self.leaves]
        self.size = sum(map(action_entries, self.leaves))
        self.groups: list[Group] = []
        noise_start = 0
        for merge, ids in kinds.items():
            pdtype = merge([self.leaves[i] for i in ids])
            flat = _entries(sizes, ids)
            if isinstance(pdtype, DiagGaussianPdType):  # each leaf's means, then each leaf's log standard deviations
                is_logstd = np.concatenate([np.arange(sizes[i]) >= sizes[i] // 2 for i in ids])
                flat = np.concatenate([flat[~is_logstd], flat[is_logstd]])
            noise_end = noise_start + pdtype.noise(np.random.default_rng(0), ()).size
            self.groups.append(
                Group(
                    pdtype,
                    Entries(flat),
                    Entries(_entries([action_entries(leaf) for leaf in self.leaves], ids)),
                    Entries(_entries([leaf.num_choices() for leaf in self.leaves], ids)),
                    Entries(np.arange(noise_start, noise_end)),
                )
            )
            noise_start = noise_end
        self._flat_order = Joined([group.flat for group in self.groups])
        self._action_order = Joined([group.actions for group in self.groups])

    def param_shape(self) -> list[int]:
        """Return [p], the number of parameters of all leaves together."""
        return [sum(leaf.param_shape()[0] for leaf in self.leaves)]

    def sample_shape(self) -> list[int]:
        """Return [n], the number of entries of all leaves together."""
        return [self.size]

    def sample_dtype(self) -> tf.DType:
        """Return float64."""
        return tf.float64

    def to_space_shape(self, rows: Array) -> Array:
        """Return the rows [..., n] themselves: actions are stored so."""
        return rows

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draw the noise of each kind of leaves, concatenated, [*shape, q] float32, from a NumPy generator."""
        return np.concatenate([group.pdtype.noise(rng, shape) for group in self.groups], axis=-1)

    def tf_noise(self, shape: tf.Tensor) -> tf.Tensor:
        """Draw the same noise from TensorFlow's global generator."""
        return tf.concat([group.pdtype.tf_noise(shape) for group in self.groups], axis=-1)

    def sample(self, ops: Operators, flat: Array, noise: Array) -> Array:
        """Return a sample of each leaf, concatenated, [..., n] float64."""
        return self._actions(
            ops,
            [
                group.pdtype.sample(ops, group.flat.take(ops, flat), group.noise.take(ops, noise))
                for group in self.groups
            ],
        )

    def mode(self, ops: Operators, flat: Array) -> Array:
        """Return the mode of each leaf, concatenated, [..., n] float64."""
        return self._actions(ops, [group.pdtype.mode(ops, group.flat.take(ops, flat)) for group in self.groups])

    def _actions(self, ops: Operators, groups: Sequence[Array]) -> Array:
        return self._action_order.join(ops, [ops.to_float64(actions) for actions in groups])

    def num_choices(self) -> int:
        """Return the number of choices of all leaves together."""
        return sum(leaf.num_choices() for leaf in self.leaves)

    def mask_flat(self, ops: Operators, flat: Array, mask: Array) -> Array:
        """Return parameters [..., p] with the logits of each leaf masked by its part of the mask."""
        masked = [
            group.pdtype.mask_flat(ops, group.flat.take(ops, flat), group.choices.take(ops, mask))
            for group in self.groups
        ]
        return self._flat_order.join(ops, masked)

    def logstd_indices(self) -> np.ndarray:
        """Return the entries of flatparam that are log standard deviations of Gaussian leaves."""
        found = [group.flat.index[group.pdtype.logstd_indices()] for group in self.groups]
        return np.sort(np.concatenate(found))


def action_entries(pdtype: PdType) -> int:
    """Return how many numbers an action has."""
    return int(np.prod(pdtype.sample_shape()))


def _entries(sizes: Sequence[int], ids: Sequence[int]) -> np.ndarray:
    """Return the indices of the leaves `ids` in a vector of all leaves' entries, of which each has one of `sizes`."""
    ends = np.cumsum(sizes)
    return np.concatenate([np.arange(ends[i] - sizes[i], ends[i]) for i in ids])


# ---- one distribution for all leaves of a kind


def _merger(leaf: PdType) -> Callable[[Sequence[Any]], PdType]:
    """Return the function that makes one distribution of leaves of this kind."""
    if isinstance(leaf, DiagGaussianPdType):
        return _merge_gaussians
    return _merge_bernoullis if isinstance(leaf, BernoulliPdType) else _merge_categoricals


def _merge_gaussians(leaves: Sequence[DiagGaussianPdType]) -> PdType:
    return DiagGaussianPdType(gym.spaces.Box(-np.inf, np.inf, (sum(leaf.size for leaf in leaves),)))


def _merge_bernoullis(leaves: Sequence[BernoulliPdType]) -> PdType:
    return BernoulliPdType(gym.spaces.MultiBinary(sum(leaf.size for leaf in leaves)))


def _merge_categoricals(leaves: Sequence[CategoricalPdType | MultiCategoricalPdType]) -> PdType:
    sizes = [leaf.n if isinstance(leaf, CategoricalPdType) else leaf.sizes for leaf in leaves]
    starts = [leaf.start if isinstance(leaf, CategoricalPdType) else leaf.starts for leaf in leaves]
    return MultiCategoricalPdType(
        gym.spaces.MultiDiscrete(
            np.concatenate(list(map(np.ravel, sizes))), start=np.concatenate(list(map(np.ravel, starts)))
        )
    )
