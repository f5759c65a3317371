"""Action masks of vector environments, and `with_action_masks` for any environment."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from common.envs.action_masks import (
    HOW_TO_GIVE_MASKS,
    METHOD,
    OWN_MODULES,
    ActionMaskWrapper,
    env_name,
    is_wrapped,
    mask_source,
    missing_mask,
    no_masks,
    with_masks_of,
)
from common.envs.mask_layout import (
    ACTION_MASK,
    OBSERVATION,
    MaskLayout,
    checked_mask,
    gives_mask,
    has_action_mask,
    masked_space,
)
from common.errors import EnvError, UserError
from common.vec_env.in_process import InProcessVectorEnv
from common.vec_env.subproc import SubprocVectorEnv
from common.vec_env.vector_env_checker import EnvLayout, env_layout, final_observation


class VectorActionMaskWrapper(gym.vector.VectorWrapper):
    """`ActionMaskWrapper` for a `VectorEnv` of any autoreset mode.

    Args:
        env: the vector environment.
        source: 'method' (its own `action_masks()`, which returns K masks), 'call' (that of each of its environments),
            'info' (`infos["action_mask"]`) or 'observation'.

    Attributes:
        masks: [K, n] uint8, the current masks.
    """

    def __init__(self, env: gym.vector.VectorEnv, source: str) -> None:
        super().__init__(env)
        self.source = source
        self.read_masks = _method_of(env)
        ob_space, ac_space = env.single_observation_space, env.single_action_space
        self.inner_layout = EnvLayout(env.num_envs, ob_space, ac_space)
        self.layout = MaskLayout(ac_space)
        inner = ob_space[OBSERVATION] if source == "observation" else ob_space
        self.single_observation_space = masked_space(inner, ac_space)
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, env.num_envs)
        self.masks = np.ones((env.num_envs, self.layout.n), np.uint8)
        self.is_same_step = (env.metadata or {}).get("autoreset_mode") is AutoresetMode.SAME_STEP
        self.seen = False

    def reset(self, *, seed: Any = None, options: dict | None = None) -> Any:
        """Start new episodes, in DISABLED mode only where `options["reset_mask"]` is True.

        Raises:
            EnvError: if an environment has no valid mask.
        """
        rows = np.array((options or {}).get("reset_mask", np.ones(self.num_envs, bool)))  # Gymnasium removes the option
        result = self.env.reset(seed=seed, options=options)
        if not isinstance(result, tuple) or len(result) != 2:
            return result  # the caller reports it
        obs, infos = result
        self._update(obs, infos, rows, "reset")
        return self._masked(obs), infos

    def step(self, actions: Any) -> Any:
        """Step all environments.

        Raises:
            EnvError: if an environment whose episode continues, or which has started one, has no valid mask.
        """
        result = self.env.step(actions)
        ended = _ends(result, self.num_envs)
        if ended is None:
            return result  # the caller reports it
        obs, rew, terminated, truncated, infos = result
        if self.is_same_step:
            infos = self._with_masked_finals(infos, ended)
        self.masks[ended] = 1  # no action follows
        self._update(obs, infos, np.ones(self.num_envs, bool) if self.is_same_step else ~ended, "step")
        return self._masked(obs), rew, terminated, truncated, infos

    def _masked(self, obs: Any) -> dict[str, Any]:
        inner = obs[OBSERVATION] if self.source == "observation" else obs
        return {ACTION_MASK: self.masks.astype(np.int8), OBSERVATION: inner}

    def _with_masked_finals(self, infos: dict, ended: np.ndarray) -> dict:
        """Return infos whose final observations have masks, in which all choices are valid."""
        if not ended.any():
            return infos
        finals = np.full(self.num_envs, None, object)
        for k in np.flatnonzero(ended):
            ob = final_observation(infos, int(k), self.inner_layout, self.env.observation_space)
            finals[k] = {
                ACTION_MASK: np.ones(self.layout.n, np.int8),
                OBSERVATION: ob[OBSERVATION] if self.source == "observation" else ob,
            }
        return {**infos, "final_obs": finals}

    def _update(self, obs: Any, infos: Any, rows: np.ndarray, method: str) -> None:
        """Read the masks of the environments where `rows` is True."""
        masks, given = self._read(obs, infos)
        for k in np.flatnonzero(rows).tolist():
            if not given[k]:
                raise missing_mask(method, self.seen).add_context(environment=k)
            try:
                self.masks[k] = checked_mask(self.layout, self.layout.row(masks, k))
            except (IndexError, KeyError, TypeError) as error:
                raise EnvError(
                    f"gave action masks without one for each of its {self.num_envs} environments",
                    "return one mask for each",
                ) from error
            except EnvError as fault:
                raise fault.add_context(environment=k) from None
        self.seen = True

    def _read(self, obs: Any, infos: Any) -> tuple[Any, np.ndarray]:
        """Return all masks, and which environments have given one."""
        everywhere = np.ones(self.num_envs, bool)
        if self.source == "method":
            assert self.read_masks is not None
            return self.read_masks(), everywhere
        if self.source == "call":
            return self.unwrapped.call(METHOD), everywhere
        if self.source == "observation":
            return obs[ACTION_MASK], everywhere
        masks = infos.get(ACTION_MASK) if isinstance(infos, dict) else None
        if masks is None:
            return None, ~everywhere
        return masks, np.asarray(infos.get(f"_{ACTION_MASK}", everywhere), bool)


def _ends(result: Any, num_envs: int) -> np.ndarray | None:
    """Return which episodes ended, [K] bool; None if this is not the result of a step."""
    if not isinstance(result, tuple) or len(result) != 5 or not isinstance(result[4], dict):
        return None
    ends = [np.asarray(x) for x in result[2:4]]
    if any(x.shape != (num_envs,) or x.dtype.kind not in "biuf" for x in ends):
        return None
    ended: np.ndarray = (ends[0] != 0) | (ends[1] != 0)
    return ended


def _method_of(env: gym.vector.VectorEnv) -> Callable[[], Any] | None:
    """Return the method `action_masks` of a `VectorEnv`, or of one that it wraps; None if there is none."""
    while not callable(method := getattr(env, METHOD, None)):
        if not isinstance(env, gym.vector.VectorWrapper):
            return None
        env = env.env
    found: Callable[[], Any] = method
    return found


def vector_mask_source(env: gym.vector.VectorEnv) -> str | None:
    """Return where a `VectorEnv`'s masks come from; None if it gives none. It may be reset, as in `mask_source`."""
    if gives_mask(env.single_observation_space, env.single_action_space):
        return "observation"
    if MaskLayout(env.single_action_space).n == 0:
        return None
    if _method_of(env) is not None:
        return "method"
    inner = env
    while isinstance(inner, gym.vector.VectorWrapper) and type(inner).__module__.startswith(OWN_MODULES):
        inner = inner.env
    if isinstance(inner, gym.vector.SyncVectorEnv):
        found = mask_source(inner.envs[0])
        return "call" if found == "method" else found
    base = env.unwrapped
    if isinstance(base, gym.vector.AsyncVectorEnv) and all(base.call("has_wrapper_attr", METHOD)):
        return "call"
    with contextlib.suppress(Exception):  # the first reset of the training reports it
        _, infos = inner.reset()
        return "info" if ACTION_MASK in infos else None
    return None


def with_action_masks(env: Any, enabled: bool | None = None) -> Any:
    """Return an environment with the masks of its valid actions in its observations (`ActionMaskWrapper`).

    Args:
        env: an `Env` or `VectorEnv`.
        enabled: None: if it gives masks. For that, an environment whose actions have choices, and that has no method
            `action_masks`, is reset once. True: it must give masks. False: return it as it is.

    Raises:
        UserError: if it gives none and must, or if `env` is not an environment.
    """
    _, ob_space, ac_space = env_layout(env)
    if enabled is False or isinstance(env, VectorActionMaskWrapper):
        return env
    if not isinstance(env, gym.vector.VectorEnv):
        return with_masks_of(env, enabled)
    if isinstance(env, InProcessVectorEnv):
        return _with_masks_inside(env, enabled)
    if isinstance(env, SubprocVectorEnv):
        return env if has_action_mask(ob_space, ac_space) else _without_masks_in_workers(env, enabled)
    source = vector_mask_source(env)
    if source is None:
        if enabled:
            raise no_masks(env)
        return env
    return VectorActionMaskWrapper(env, source)


def with_masks_for(pi: Any, env: Any) -> Any:
    """Return an environment with masks in its observations if the policy `pi` was trained with masks.

    Raises:
        UserError: if the policy was, and the environment gives no masks.
    """
    if not has_action_mask(getattr(pi, "ob_space", None), getattr(pi, "ac_space", None)):
        return env
    masked = with_action_masks(env)
    if not has_action_mask(*env_layout(masked)[1:]) and MaskLayout(env_layout(env).ac_space).n:
        raise UserError(
            f"the policy was trained with action masks, and {env_name(env)} gives none; {HOW_TO_GIVE_MASKS}"
        )
    return masked


def _with_masks_inside(env: InProcessVectorEnv, enabled: bool | None) -> InProcessVectorEnv:
    """Return an `InProcessVectorEnv` of the wrapped environments; they are alike, so the first one decides."""
    if is_wrapped(env.envs[0]):
        return env
    source = mask_source(env.envs[0])
    if source is None:
        if enabled:
            raise no_masks(env)
        return env
    return InProcessVectorEnv([ActionMaskWrapper(one, source) for one in env.envs])


def _without_masks_in_workers(env: SubprocVectorEnv, enabled: bool | None) -> SubprocVectorEnv:
    """Return the environment if it gives no masks; its environments are in other processes, and cannot be wrapped."""
    if enabled or env.gives_masks:
        raise UserError(
            "the environments of a SubprocVectorEnv must be wrapped where they are made: let `make` return an "
            "ActionMaskWrapper (common.envs.action_masks), or give action_masks=False"
        )
    return env
