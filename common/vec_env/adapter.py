"""Environments as the collector steps them: whatever their autoreset mode, episodes that end in the step that ended them."""

import contextlib
import copy

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from common.dtypes import LossyCastError
from common.envs.env_checker import cannot_hold, raised, unpack_reset
from common.errors import EnvError, UserError
from common.formatting import describe_space, safe_repr, truncate
from common.storage.write_errors import WriteError
from common.vec_env.in_process import InProcessVectorEnv
from common.vec_env.vector_env_checker import broken, check_observations, check_step, final_observation, layout_of

NO_LIST = (
    gym.error.Error,
    TypeError,
    ValueError,
    AssertionError,
    AttributeError,
)  # what a list of seeds is answered with where one is expected


class Encodings:
    """A segment's observations, each encoded when it comes: the next environment may write into the same arrays."""

    def __init__(self, stepper, obs):
        self.stepper, self.obs = stepper, obs

    def __setitem__(self, index, ob):
        self.obs[index] = self.stepper._encoded(ob, index[1])


class VectorEnvAdapter:
    """What the collector needs of an `Env` or a `VectorEnv`, of any autoreset mode.

    Args:
        env: the environment.
        encoder: an `ObservationEncoder` of its observations.

    Attributes:
        num_envs: K.
        squeeze: True for an `Env`: segments are then [T, ...] rather than [T, K, ...].

    Raises:
        UserError: for anything else, such as an environment of old Gym, and for a `VectorEnv` that does not say how it resets.
    """

    def __init__(self, env, encoder):
        self.layout, self.squeeze = layout_of(env), not isinstance(env, gym.vector.VectorEnv)
        self.env = InProcessVectorEnv([env]) if self.squeeze else env
        self.num_envs = self.layout.num_envs
        self.mode = (self.env.metadata or {}).get("autoreset_mode")
        if not isinstance(self.mode, AutoresetMode):
            raise UserError(
                f"{type(env).__name__}.metadata['autoreset_mode'] is {self.mode!r}; set it to the AutoresetMode that the vector "
                "environment follows (NEXT_STEP, SAME_STEP or DISABLED)"
            )
        self.encoder = encoder
        space = self.layout.ac_space
        self.low, self.high = (space.low, space.high) if isinstance(space, gym.spaces.Box) else (None, None)
        self.ours = hasattr(self.env, "step_into")
        self.dtype = space.dtype
        self.choices = (
            np.zeros(self.num_envs, self.dtype) if self.ours and isinstance(space, gym.spaces.Discrete) else None
        )
        self.waiting, self.any_waiting = (
            np.zeros(self.num_envs, bool),
            False,
        )  # NEXT_STEP: the coming step only resets these
        self.one_seed, self.looked_at, self.ends_are_bools = (
            False,
            False,
            True,
        )  # what a `VectorEnv` of another's has turned out to be

    def part(self, start, end):
        """A stepper of environments `start` to `end` - 1 alone."""
        if (start, end) == (0, self.num_envs):
            return self
        part = copy.copy(self)
        part.env, part.num_envs = self.env.part(start, end), end - start
        part.choices = None if self.choices is None else np.zeros(part.num_envs, self.dtype)
        return part

    def reset(self, seeds=None):
        """New episodes everywhere; returns encoded observations [K, *shape]."""
        try:
            obs = unpack_reset(self._reset_by(seeds))
        except (UserError, WriteError):
            raise
        except EnvError as fault:
            raise self._named(fault) from fault.__cause__
        except Exception as error:
            raise self._of_one_of_them(error, "reset") from error
        self.waiting[:], self.any_waiting = False, False
        return self._batch(obs, "reset")

    def _reset_by(self, seeds):
        """What `reset` of the environment returns. One that is vectorised inside may have one generator, and take one seed: it gets the first from the
        first time on that a list is nothing to it."""
        if seeds is not None and not self.ours and not self.one_seed:
            with contextlib.suppress(*NO_LIST):
                return self.env.reset(seed=seeds)
            result = self.env.reset(seed=seeds[0])  # what it raises now has nothing to do with a list
            self.one_seed = True
            return result
        return self.env.reset(seed=seeds[0] if self.one_seed and seeds is not None else seeds)

    def _batch(self, obs, method):
        """The encoded observations [K, *shape] that `method`, reset or step, of the environment returned."""
        try:
            encoded = self.encoder.encode_batch(obs, self.env.observation_space)
            if len(encoded) == self.num_envs:
                return encoded
            why = f"{len(encoded)} observations for {self.num_envs} environments"
        except LossyCastError as error:
            raise self._named(cannot_hold(error, self.layout.ob_space)) from None
        except Exception as error:
            why = f"{type(error).__name__}: {truncate(str(error))}"
        try:
            check_observations(obs, self.layout, method)
        except EnvError as fault:
            raise self._named(fault) from None
        raise self._named(
            EnvError(
                f"returned from {method} what are no observations of {describe_space(self.layout.ob_space)} ({why})",
                "return a batch of them",
            )
        )

    def step(self, actions, t, obs, rew, valid):
        """Steps all environments, from time step `t` of a segment to the next.

        Args:
            actions: [K, *sample_shape], clipped here to a Box's bounds, and handed on in their space's dtype: a Discrete's as NumPy scalars, such as
                its `sample` returns.
            t: time step.
            obs: [T + 1, K, *shape]; row t + 1 is filled with encoded observations, of the next episode where one has ended.
            rew: [T, K]; row t is filled.
            valid: [T, K] bool; row t is set False for a NEXT_STEP environment's reset, whose action and reward mean nothing.

        Returns:
            [(k, final observation encoded, terminated, truncated)] of the episodes that ended.
        """
        if self.low is not None:
            clipped = np.maximum(actions, self.low)
            actions = np.minimum(clipped, self.high, out=clipped)  # np.clip takes longer
        if self.choices is not None:
            self.choices[...] = (
                actions  # two thirds of the time of a new array, and no environment gets hold of it, but of scalars
            )
            actions = self.choices
        elif self.dtype is not None and actions.dtype != self.dtype:
            actions = actions.astype(self.dtype)
        if not self.ours:
            return self._step_vector_env(actions, obs[t + 1], rew[t], valid[t])
        if self.encoder.is_identity:
            ended = self.env.step_into(actions, obs, t + 1, rew, t)
        else:
            ended = self.env.step_into(actions, Encodings(self, obs), t + 1, rew, t)
        return (
            [(k, self._encoded(ob, k), terminated, truncated) for k, ob, _, terminated, truncated in ended]
            if ended
            else ended
        )

    def _encoded(self, ob, k):
        try:
            return self.encoder.encode(ob)
        except Exception as error:
            fault = EnvError(
                f"returned the observation {safe_repr(ob)}, which is not of its space {describe_space(self.encoder.space)} "
                f"({type(error).__name__}: {truncate(str(error))})",
                "return one of its space",
                environment=k,
                env_id=getattr(self.env.spec, "id", None),
            )
            raise fault from error

    def _of_one_of_them(self, error, method):
        """The fault of a `VectorEnv` that does not say which of its environments has one."""
        return raised(error, method, error.__traceback__).add_context(
            source=f"one of the {self.num_envs} environments of {type(self.env).__name__}"
        )

    def _named(self, fault):
        """A fault of what a `VectorEnv` returned, with its name where it has no environment's number."""
        return fault if fault.environment is not None else fault.add_context(source=type(self.env).__name__)

    def _step_vector_env(self, actions, obs, rew, valid):
        try:
            result = self.env.step(actions)
        except (EnvError, UserError, WriteError):
            raise
        except Exception as error:
            raise self._of_one_of_them(error, "step") from error
        try:
            if not self.looked_at:  # from then on it is trusted
                check_step(result, self.layout)
                self._batch(result[0], "step")
                self.looked_at, self.ends_are_bools = (
                    True,
                    all(getattr(x, "dtype", None) == np.dtype(bool) for x in result[2:4]),
                )
            return self._unpack_step(result, obs, rew, valid)
        except EnvError as fault:
            raise self._named(fault) from fault.__cause__
        except (UserError, WriteError):
            raise
        except Exception as error:
            raise self._named(self._why_not(result, error)) from error

    def _why_not(self, result, error):
        """The fault of a `VectorEnv` whose step returned `result`, which could not be taken in: `error`."""
        try:
            check_step(result, self.layout)
        except EnvError as fault:
            return fault
        if isinstance(error, LossyCastError):
            return cannot_hold(error, self.layout.ob_space)
        return EnvError(f"returned from step what cannot be taken in ({type(error).__name__}: {truncate(str(error))})")

    def _unpack_step(self, result, obs, rew, valid):
        batch, rew[:], terminated, truncated, infos = result
        obs[:] = self.encoder.encode_batch(batch, self.env.observation_space)
        valid[:] = ~self.waiting
        if not self.ends_are_bools:
            terminated, truncated = np.asarray(terminated).astype(bool), np.asarray(truncated).astype(bool)
        ended = terminated | truncated
        if self.any_waiting and (again := np.flatnonzero(ended & self.waiting)).size:
            raise broken(
                "NEXT_STEP",
                "that the step after an episode's end does nothing but start the next, which this environment ended at once",
                "set metadata['autoreset_mode'] to what it does",
                int(again[0]),
            )
        if self.mode is AutoresetMode.NEXT_STEP:
            self.waiting[:], self.any_waiting = ended, bool(ended.any())
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

    def _final(self, infos, k):
        ob = final_observation(infos, k, self.layout, self.env.observation_space)
        return self._encoded(ob, k).copy()  # the environment may write its next observation into the same array

    def _reset_ended(self, ended, obs):
        """New episodes, DISABLED, of the environments that have ended alone; `obs` is filled with their first observations."""
        try:
            first = unpack_reset(self.env.reset(options={"reset_mask": ended}))
        except (EnvError, UserError, WriteError):
            raise
        except Exception as error:
            raise self._of_one_of_them(error, "reset") from error
        first, others = self._batch(first, "reset"), ~ended
        # a wrapper may show the same state otherwise the second time, such as one with running statistics
        if getattr(self.env, "unwrapped", None) is self.env and not np.array_equal(
            first[others], obs[others], equal_nan=first.dtype.kind == "f"
        ):
            k = np.flatnonzero(
                [not np.array_equal(a, b, equal_nan=first.dtype.kind == "f") for a, b in zip(first, obs)] & others
            )[0]
            raise broken(
                "DISABLED",
                "that reset(options={'reset_mask': ...}) starts new episodes of those alone whose mask is True, which did something "
                f"to environment {k}, too",
                "leave the others as they are, and return their last observations",
                int(k),
            )
        obs[:] = first
