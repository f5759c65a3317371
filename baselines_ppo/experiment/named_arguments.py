"""An environment by its Gymnasium id, and a policy by the name of its class, as `learn` takes them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import gymnasium as gym

from baselines_ppo.config.policy_settings import POLICY_CLASS_NAMES
from baselines_ppo.policy_registry import POLICY_CLASSES
from common.envs.factory import make_env
from common.errors import UserError
from common.formatting import safe_repr
from common.policies.policy_pair import PolicyFn
from common.vec_env.action_masks import with_action_masks


def policy_function(policy_fn: PolicyFn | str) -> PolicyFn:
    """Return the function that builds a policy: `policy_fn` itself, or the class of that name.

    Args:
        policy_fn: a function; or 'MlpPolicy', 'CnnPolicy' or 'MixedPolicy'; or their names on the command line.

    Raises:
        UserError: for another name.
    """
    if not isinstance(policy_fn, str):
        return policy_fn
    class_name = POLICY_CLASS_NAMES.get(policy_fn, policy_fn)
    if class_name not in POLICY_CLASSES:
        raise UserError(
            f"invalid policy_fn={safe_repr(policy_fn)}: must be one of {', '.join(map(repr, POLICY_CLASSES))}, or a "
            "function (name, ob_space, ac_space) -> policy"
        )
    return POLICY_CLASSES[class_name]


@contextlib.contextmanager
def training_env(
    env: gym.Env | gym.vector.VectorEnv | str, action_masks: bool | None = None
) -> Iterator[gym.Env | gym.vector.VectorEnv]:
    """Context manager: the environment itself, or one that is made from an id and closed at the end.

    Args:
        env: the environment or its id.
        action_masks: whether its masks of valid actions are put into the observations (`with_action_masks`).

    Raises:
        UserError: for an unknown id, or if the environment cannot be made, or if it must give masks and gives none.
    """
    if not isinstance(env, str):
        yield with_action_masks(env, action_masks)
        return
    made = make_env(env)
    try:
        yield with_action_masks(made, action_masks)
    finally:
        made.close()
