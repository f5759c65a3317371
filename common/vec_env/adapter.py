"""Adapts an environment of any autoreset mode to the collector: an episode ends in the step that ended it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from common.dtypes import LossyCastError
from common.envs.env_checker import from_exception, lossy_observation, unpack_reset
from common.errors import EnvError, UserError
from common.formatting import describe_space, safe_repr, truncate
from common.space_tree import is_composite, is_continuous
from common.storage.write_errors import WriteError
from common.vec_env.actions import ActionStructure
from common.vec_env.mujoco.choice import fast_vector_env
from common.vec_env.vector_env_checker import (
    broken_promise,
    check_observations,
    check_step,
    env_layout,
    final_observation,
)

if TYPE_CHECKING:
    from common.policies.observation_encoder import ObservationEncoder

# what a `reset` that expects one seed may raise for a list of seeds
SEED_LIST_ERRORS = (gym.error.Error, TypeError, ValueError, AssertionError, AttributeError)


class EncodedObservations:
    """A segment's observations, encoded at once, because the next environment may write into the same arrays."""

    def __init__(self, adapter: VectorEnvAdapter, obs: np.ndarray) -> None:
        self.adapter = adapter
        self.obs = obs

    def __setitem__(self, index: tuple[int, int], ob: Any) -> None:
        self.obs[index] = self.adapter._encoded(ob, index[1])


class VectorEnvAdapter:
    """Adapter of an `Env` or a `VectorEnv` to the collector, for any autoreset mode.

    Args:
        env: the environment.
        encoder: encoder of its observations.

    Attributes:
        num_envs: K.
        squeeze: True for an `Env`: segments are then [T, ...] rather than [T, K, ...].
        is_native: the environment has `step_into`, as this package's own have.
        pending_reset: [K] bool, NEXT_STEP: the next step only resets these environments.

    Raises:
        UserError: for anything else, such as an environment of old Gym, and for a `VectorEnv` without an autoreset
            mode.
    """

    def __init__(self, env: Any, encoder: ObservationEncoder) -> None:
        self.layout = env_layout(env)
        self.squeeze = not isinstance(env, gym.vector.VectorEnv)
        self.env = fast_vector_env([env]) if self.squeeze else env
        self.num_envs = self.layout.num_envs
        self.mode = (self.env.metadata or {}).get("autoreset_mode")
        if not isinstance(self.mode, AutoresetMode):
            raise UserError(
                f"{type(env).__name__}.metadata['autoreset_mode'] is {self.mode!r}; set it to the AutoresetMode "
                "that the vector environment follows (NEXT_STEP, SAME_STEP or DISABLED)"
            )
        self.encoder = encoder
        space = self.layout.ac_space
        self.low, self.high = (space.low, space.high) if is_continuous(space) else (None, None)
        self.structure = ActionStructure(space) if is_composite(space) else None
        self.is_native = hasattr(self.env, "step_into")
        self.dtype = space.dtype
        has_choices = self.is_native and isinstance(space, gym.spaces.Discrete)
        self.choices = np.zeros(self.num_envs, self.dtype) if has_choices else None
        self.pending_reset = np.zeros(self.num_envs, bool)
        self.any_pending_reset = False
        # what is known of a foreign `VectorEnv`: it takes one seed; its results have been checked; its ends are bools
        self.takes_one_seed = False
        self.is_checked = False
        self.ends_are_bools = True

    def subset(self, start: int, end: int) -> VectorEnvAdapter:
        """Return an adapter of environments `start` to `end` - 1."""
        if (start, end) == (0, self.num_envs):
            return self
        part = copy.copy(self)
        part.env, part.num_envs = self.env.subset(start, end), end - start
        part.choices = None if self.choices is None else np.zeros(part.num_envs, self.dtype)
        return part

    def reset(self, seeds: Sequence[int] | None = None) -> np.ndarray:
        """Start new episodes in all environments; return encoded observations [K, *shape]."""
        try:
            obs = unpack_reset(self._reset_with(seeds))
        except (UserError, WriteError):
            raise
        except EnvError as fault:
            raise self._with_source(fault) from fault.__cause__
        except Exception as error:
            raise self._from_exception(error, "reset") from error
        self.pending_reset[:], self.any_pending_reset = False, False
        return self._batch(obs, "reset")

    def _reset_with(self, seeds: Sequence[int] | None) -> Any:
        """Return what the environment's `reset` returns.

        An environment that is vectorised inside may have one random generator, and take one seed. From the first error
        on that a list of seeds causes, it gets the first seed of the list.
        """
        if seeds is not None and not self.is_native and not self.takes_one_seed:
            with contextlib.suppress(*SEED_LIST_ERRORS):
                return self.env.reset(seed=seeds)
            result = self.env.reset(seed=seeds[0])  # an error here is not about the list
            self.takes_one_seed = True
            return result
        return self.env.reset(seed=seeds[0] if self.takes_one_seed and seeds is not None else seeds)

    def _batch(self, obs: Any, method: str) -> np.ndarray:
        """Return the encoded observations [K, *shape] that `method` ('reset' or 'step') returned."""
        try:
            encoded = self.encoder.encode_batch(obs, self.env.observation_space)
            if len(encoded) == self.num_envs:
                return encoded
            why = f"{len(encoded)} observations for {self.num_envs} environments"
        except LossyCastError as error:
            raise self._with_source(lossy_observation(error, self.layout.ob_space)) from None
        except Exception as error:
            why = f"{type(error).__name__}: {truncate(str(error))}"
        try:
            check_observations(obs, self.layout, method)
        except EnvError as fault:
            raise self._with_source(fault) from None
        what = f"returned from {method} a batch that is not of the space {describe_space(self.layout.ob_space)} ({why})"
        raise self._with_source(EnvError(what, "return a batch of its observations"))

    def step(self, actions: np.ndarray, t: int, obs: np.ndarray, rew: np.ndarray, valid: np.ndarray) -> Sequence[tuple]:
        """Step all environments, from time step `t` of a segment to the next.

        Args:
            actions: [K, *sample_shape]. Those of a Box are clipped to its bounds. Environments get them in the dtype of
                their space, and a Discrete's as NumPy scalars, as its `sample` returns them; those of a Dict or Tuple
                in its structure.
            t: time step.
            obs: [T + 1, K, *shape]; row t + 1 is filled with encoded observations, of the next episode where one ended.
            rew: [T, K]; row t is filled, at the latest by `write_rewards`.
            valid: [T, K] bool; row t becomes False where a NEXT_STEP environment only resets, whose action and reward
                have no meaning.

        Returns:
            [(k, encoded final observation, terminated, truncated)] of the episodes that ended.
        """
        if self.low is not None:
            clipped = np.maximum(actions, self.low)
            actions = np.minimum(clipped, self.high, out=clipped)  # np.clip takes longer
        if self.choices is not None:
            # takes two thirds of the time of a new array; environments get scalars of it, never the array
            self.choices[...] = actions
            actions = self.choices
        elif self.dtype is not None and actions.dtype != self.dtype:
            actions = actions.astype(self.dtype)
        elif self.structure is not None:
            actions = self.structure.rows(actions) if self.is_native else self.structure.batch(actions)
        if not self.is_native:
            return self._step_vector_env(actions, obs[t + 1], rew[t], valid[t])
        if self.encoder.is_identity:
            ended = self.env.step_into(actions, obs, t + 1, rew, t)
        else:
            ended = self.env.step_into(actions, EncodedObservations(self, obs), t + 1, rew, t)
        return (
            [(k, self._encoded(ob, k), terminated, truncated) for k, ob, _, terminated, truncated in ended]
            if ended
            else ended
        )

    def write_rewards(self) -> None:
        """Fill the rows of `rew` of earlier calls of `step` that it has left unfilled. Call it before reading them."""
        if self.is_native:
            self.env.write_rewards()

    def _encoded(self, ob: Any, k: int) -> np.ndarray:
        try:
            return self.encoder.encode(ob)
        except Exception as error:
            space = describe_space(self.encoder.space)
            what = f"returned the observation {safe_repr(ob)}, which is not of its space {space}"
            raise EnvError(
                f"{what} ({type(error).__name__}: {truncate(str(error))})",
                "return one of its space",
                environment=k,
                env_id=getattr(self.env.spec, "id", None),
            ) from error

    def _from_exception(self, error: Exception, method: str) -> EnvError:
        """Return the error of a `VectorEnv`, which does not report which of its environments failed."""
        source = f"one of the {self.num_envs} environments of {type(self.env).__name__}"
        return from_exception(error, method, error.__traceback__).add_context(source=source)

    def _with_source(self, fault: EnvError) -> EnvError:
        """Add the class of a `VectorEnv` to an error that has no environment's number."""
        return fault if fault.environment is not None else fault.add_context(source=type(self.env).__name__)

    def _step_vector_env(self, actions: Any, obs: np.ndarray, rew: np.ndarray, valid: np.ndarray) -> Sequence[tuple]:
        try:
            result = self.env.step(actions)
        except (EnvError, UserError, WriteError):
            raise
        except Exception as error:
            raise self._from_exception(error, "step") from error
        try:
            if not self.is_checked:  # later results are not checked
                check_step(result, self.layout)
                self._batch(result[0], "step")
                self.is_checked = True
                self.ends_are_bools = all(getattr(x, "dtype", None) == np.dtype(bool) for x in result[2:4])
            return self._unpack_step(result, obs, rew, valid)
        except EnvError as fault:
            raise self._with_source(fault) from fault.__cause__
        except (UserError, WriteError):
            raise
        except Exception as error:
            raise self._with_source(self._diagnose(result, error)) from error

    def _diagnose(self, result: Any, error: Exception) -> EnvError:
        """Return the error of a `VectorEnv` whose step returned an unusable `result`, because of `error`."""
        try:
            check_step(result, self.layout)
        except EnvError as fault:
            return fault
        if isinstance(error, LossyCastError):
            return lossy_observation(error, self.layout.ob_space)
        return EnvError(f"returned an unusable result from step ({type(error).__name__}: {truncate(str(error))})")

    def _unpack_step(self, result: Any, obs: np.ndarray, rew: np.ndarray, valid: np.ndarray) -> Sequence[tuple]:
        batch, rew[:], terminated, truncated, infos = result
        obs[:] = self.encoder.encode_batch(batch, self.env.observation_space)
        valid[:] = ~self.pending_reset
        if not self.ends_are_bools:
            terminated, truncated = np.asarray(terminated).astype(bool), np.asarray(truncated).astype(bool)
        ended = terminated | truncated
        if self.any_pending_reset and (again := np.flatnonzero(ended & self.pending_reset)).size:
            raise broken_promise(
                "NEXT_STEP",
                "that the step after an episode's end only starts the next one, which this environment ended at once",
                "set metadata['autoreset_mode'] to its actual mode",
                int(again[0]),
            )
        if self.mode is AutoresetMode.NEXT_STEP:
            self.pending_reset[:], self.any_pending_reset = ended, bool(ended.any())
        if not ended.any():
            return ()
        same_step = self.mode is AutoresetMode.SAME_STEP
        ends = [
            (k, self._final(infos, int(k)) if same_step else obs[k].copy(), bool(terminated[k]), bool(truncated[k]))
            for k in np.flatnonzero(ended)
        ]
        if self.mode is AutoresetMode.DISABLED:
            self._reset_ended(ended, obs)
        return ends

    def _final(self, infos: dict, k: int) -> np.ndarray:
        ob = final_observation(infos, k, self.layout, self.env.observation_space)
        return self._encoded(ob, k).copy()  # the environment may write its next observation into the same array

    def _reset_ended(self, ended: np.ndarray, obs: np.ndarray) -> None:
        """DISABLED: start new episodes in the environments that ended, and write their observations into `obs`."""
        try:
            result = unpack_reset(self.env.reset(options={"reset_mask": ended}))
        except (EnvError, UserError, WriteError):
            raise
        except Exception as error:
            raise self._from_exception(error, "reset") from error
        first, others = self._batch(result, "reset"), ~ended
        equal_nan = first.dtype.kind == "f"
        # a wrapper may return another observation of an unchanged state, such as one with running statistics
        is_unwrapped = getattr(self.env, "unwrapped", None) is self.env
        if is_unwrapped and not np.array_equal(first[others], obs[others], equal_nan=equal_nan):
            changed = [not np.array_equal(a, b, equal_nan=equal_nan) for a, b in zip(first, obs)]
            k = int(np.flatnonzero(changed & others)[0])
            raise broken_promise(
                "DISABLED",
                "that reset(options={'reset_mask': ...}) starts new episodes only where the mask is True, but it also "
                f"changed environment {k}",
                "leave the others unchanged, and return their last observations",
                k,
            )
        obs[:] = first
