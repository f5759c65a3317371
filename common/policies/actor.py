"""Acting with a policy: one observation at a time for a user, segments for the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from common.distributions import NumpyOperators, Pd, PdType
from common.errors import UserError
from common.formatting import safe_repr
from common.policies.inputs.layout import NetworkOutputs
from common.policies.inputs.masked_observations import combine
from common.policies.inputs.memory import Memory, checked_starts, checked_state
from common.policies.observation_encoder import ObservationEncoder
from common.policies.storable import StorablePolicy
from common.space_tree import is_composite, is_continuous
from common.validation import check_bool
from common.vec_env.actions import ActionStructure

if TYPE_CHECKING:
    from common.policies.base import Policy

Act = Callable[[np.ndarray, int], np.ndarray]
State = np.ndarray  # [S], or [N, S] for a batch of observations


def choose_actions(pdtype: PdType, flat: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
    """Sample actions, or take the most likely ones.

    Args:
        pdtype: the kind of distribution.
        flat: parameters, [..., p] float32.
        noise: as `pdtype.noise` draws it; None for the most likely actions.

    Returns:
        [..., *space.shape].
    """
    actions: np.ndarray = (
        pdtype.mode(NumpyOperators, flat) if noise is None else pdtype.sample(NumpyOperators, flat, noise)
    )
    return actions


class Actor:
    """Acts for one segment, during which the policy's weights do not change.

    Args:
        pi: the policy.
        noise: [T, K, ...], as `pdtype.noise` draws it; None for the most likely actions.

    Attributes:
        outputs: (flatparam [K, p], vpred [K]) of every call, which then need not be computed again for the update. None
            for Gaussians: at a small standard deviation, their log probabilities magnify rounding differences between
            batch sizes.
    """

    def __init__(self, pi: Policy, noise: np.ndarray | None) -> None:
        self.pi = pi
        self.noise = noise
        self.outputs: list[tuple[np.ndarray, np.ndarray]] | None = None if len(pi.pdtype.logstd_indices()) else []

    def __call__(self, ob: np.ndarray, t: int) -> np.ndarray:
        """Return actions [K, ...] for encoded observations [K, ...] at time step `t` of the segment."""
        flat, vpred = (x.numpy() for x in self.pi.compiled_outputs(self.pi.inputs(ob)))
        if self.outputs is not None:
            self.outputs.append((flat, vpred))
        return choose_actions(self.pi.pdtype, flat, None if self.noise is None else self.noise[t])


class MemoryActor:
    """Acts for one segment with a policy that has a memory.

    Args:
        pi: the policy.
        noise: as for `Actor`.
        memory: the memory of the K environments, which each call advances.
    """

    def __init__(self, pi: Policy, noise: np.ndarray | None, memory: Memory) -> None:
        self.pi = pi
        self.noise = noise
        self.memory = memory

    def __call__(self, ob: np.ndarray, t: int) -> np.ndarray:
        """Return actions [K, ...] for encoded observations [K, ...] at time step `t` of the segment."""
        flat, _, state = step_with_memory(self.pi, ob, self.memory)
        self.memory.advance(state)
        return choose_actions(self.pi.pdtype, flat, None if self.noise is None else self.noise[t])


def step_with_memory(pi: ActingPolicy, ob: np.ndarray, memory: Memory) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute one step of a policy with a memory.

    Args:
        pi: the policy.
        ob: [N, ...], encoded observations.
        memory: of N environments; it is not changed.

    Returns:
        (flatparam [N, p], vpred [N], state after the step [N, S]), float32.
    """
    steps = pi.inputs(ob)[:, None]
    rows = pi.layout.sequences(steps, memory.start[:, None], memory.state)
    flat, vpred, states = (x.numpy()[:, 0] for x in pi.compiled_outputs(rows))
    return flat, vpred, states


class ActingPolicy(NetworkOutputs, StorablePolicy):
    """The part of `Policy` that takes observations and returns actions and values.

    A policy with a memory takes the state that the last call returned, and returns the next one. Without a state, or
    where `episode_start` is true, an episode starts.

    Args:
        name: 'pi' or 'oldpi'.
        ob_space: Gymnasium space of the observations.
        ac_space: Gymnasium space of the actions.

    Attributes:
        rng: generator of the noise of `act` and `predict`.
    """

    encoder: ObservationEncoder
    state_size: int = 0

    def __init__(self, name: str, ob_space: gym.Space[Any], ac_space: gym.Space[Any]) -> None:
        super().__init__(name, ob_space, ac_space)
        self.rng = np.random.default_rng()

    @property
    def recurrent(self) -> bool:
        """Whether the policy has a memory."""
        return self.state_size > 0

    def compiled_outputs(self, x: Any) -> Any:
        """Compute the network in one compiled call (`Policy.compiled_outputs`)."""
        raise NotImplementedError

    def inputs(self, encoded: np.ndarray) -> Any:
        """Return the network's input for encoded observations (`Policy.inputs`)."""
        raise NotImplementedError

    def _evaluate(
        self, ob: Any, state: State | None, episode_start: Any, action_masks: Any
    ) -> tuple[Any, np.ndarray, np.ndarray | None, bool]:
        """Return (flatparam [N, p], vpred [N], next state [N, S] or None, whether `ob` was a batch)."""
        ob = combine(self.ob_space, self.ac_space, ob, action_masks=action_masks)
        obs, is_batch = self.encoder.single_or_batch(ob)
        if not self.recurrent:
            if state is not None:
                raise UserError(f"invalid state={safe_repr(state)}: {type(self).__name__} has no memory; leave it out")
            flat, vpred = self.compiled_outputs(self.inputs(obs))
            return flat, vpred.numpy(), None, is_batch
        memory = Memory(len(obs), self.layout.state_size)
        if state is not None:
            memory.state[...] = checked_state(state, memory.state.shape, is_batch)
            memory.start[...] = False if episode_start is None else checked_starts(episode_start, len(obs))
        flat, vpred, following = step_with_memory(self, obs, memory)
        return flat, vpred, following, is_batch

    def act(
        self,
        stochastic: bool,
        ob: Any,
        state: State | None = None,
        episode_start: Any = None,
        *,
        action_masks: Any = None,
    ) -> tuple[Any, ...]:
        """Return action and value for one observation or a batch.

        Args:
            stochastic: sample, or take the most likely action.
            ob: one observation of `ob_space`, or a batch.
            state: for a policy with a memory, what the last call returned; None at the start of an episode.
            episode_start: with `state`, a bool, or one for each observation of a batch: whether an episode starts here.
            action_masks: for a policy with action masks and an observation without one: its mask, or one mask for each
                observation of a batch, flat or as `ac_space.sample(mask)` takes it.

        Returns:
            (ac, vpred): [N, *sample_shape] in the distribution's dtype and [N] float32, without the batch axis if `ob`
            had none; with a memory (ac, vpred, state). Actions are not clipped to a Box; `predict` returns clipped
            ones.

        Raises:
            UserError: if `ob` is neither, `state` is not one of this policy, or a mask is invalid, missing or not used.
        """
        flat, vpred, following, is_batch = self._evaluate(ob, state, episode_start, action_masks)
        flat = np.asarray(flat)
        ac = choose_actions(self.pdtype, flat, self.pdtype.noise(self.rng, (len(flat),)) if stochastic else None)
        results = (ac, vpred) if following is None else (ac, vpred, following)
        return results if is_batch else tuple(x[0] for x in results)

    def predict(
        self,
        ob: Any,
        deterministic: bool = False,
        state: State | None = None,
        episode_start: Any = None,
        *,
        action_masks: Any = None,
    ) -> Any:
        """Return the action to take, for one observation or a batch, as an environment's `step` accepts it.

        Args:
            ob: one observation of `ob_space`, or a batch.
            deterministic: take the most likely action; otherwise sample.
            state: as for `act`.
            episode_start: as for `act`.
            action_masks: as for `act`.

        Returns:
            An action of `ac_space`, or a batch [N, ...], in the dtype of the space; with a memory (action, state). For
            one observation, an action of a Discrete space is a NumPy scalar. Actions of a Box are clipped to its
            bounds; `act` returns them unclipped. Actions of a Dict or Tuple have its structure, with batched leaves for
            a batch; `act` returns vectors.

        Raises:
            UserError: if `ob` is neither, `deterministic` is not a bool, or `state` is not one of this policy.
        """
        results = self.act(
            not check_bool("deterministic", deterministic), ob, state, episode_start, action_masks=action_masks
        )
        actions = self.env_actions(results[0])
        return (actions, results[2]) if self.recurrent else actions

    def env_actions(self, actions: Any) -> Any:
        """Return actions of `act` as an environment takes them: clipped to a Box, in the dtype of the space."""
        space = self.ac_space
        if is_composite(space):
            return ActionStructure(space).batch(actions)
        if is_continuous(space):
            actions = np.clip(actions, space.low, space.high)
        return np.asarray(actions)[()].astype(space.dtype)

    def pd(self, ob: Any, state: State | None = None, episode_start: Any = None, *, action_masks: Any = None) -> Pd:
        """Return the distributions over actions at observations.

        Args:
            ob: one observation of `ob_space`, or a batch.
            state: as for `act`.
            episode_start: as for `act`.
            action_masks: as for `act`.

        Returns:
            A batch of N distributions; N is 1 for one observation.

        Raises:
            UserError: if `ob` is neither.
        """
        return self.pdtype.pdfromflat(self._evaluate(ob, state, episode_start, action_masks)[0])

    def vpred(
        self, ob: Any, state: State | None = None, episode_start: Any = None, *, action_masks: Any = None
    ) -> np.ndarray:
        """Return the values at observations, [N] float32; N is 1 for one observation.

        Args:
            ob: one observation of `ob_space`, or a batch.
            state: as for `act`.
            episode_start: as for `act`.
            action_masks: as for `act`.

        Raises:
            UserError: if `ob` is neither.
        """
        return self._evaluate(ob, state, episode_start, action_masks)[1]

    def values(self, encoded: np.ndarray) -> np.ndarray:
        """Return the values at encoded observations [N, *encoder.shape], [N] float32.

        With a memory, an episode starts at each of them.
        """
        if self.recurrent:
            return step_with_memory(self, encoded, Memory(len(encoded), self.state_size))[1]
        vpred: np.ndarray = self.compiled_outputs(self.inputs(encoded))[1].numpy()
        return vpred
