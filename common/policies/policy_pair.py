"""Builds the two policies of a training, pi and oldpi, from the function that the caller of `learn` provides."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import gymnasium as gym

from common import seeding
from common.distributed.communicator import Communicator
from common.errors import UserError
from common.formatting import safe_repr, truncate
from common.policies.base import Policy
from common.policies.files import check_serializable
from common.policies.space_comparison import describe_spaces, policy_space_difference
from common.vec_env.vector_env_checker import env_layout

PolicyFn = Callable[[str, gym.Space[Any], gym.Space[Any]], Policy]  # (name, ob_space, ac_space) -> policy


def build_policies(
    env: gym.Env | gym.vector.VectorEnv, policy_fn: PolicyFn, comm: Communicator, seed: int
) -> tuple[Policy, Policy]:
    """Build (pi, oldpi) for an environment; their observation statistics are over all ranks.

    If pi is as its constructor left it, its weights are drawn from the seed. If it was loaded, trained or assigned
    since, it keeps its weights and statistics, and oldpi is a copy of it.

    Raises:
        UserError: if `policy_fn` returns something that is not a policy of this package, a policy for other spaces, or
            one that cannot be described in a file, or with other settings than on rank 0.
    """
    layout = env_layout(env)
    ob_space, ac_space = layout.ob_space, layout.ac_space
    if not callable(policy_fn):
        raise UserError(
            f"invalid policy_fn={safe_repr(policy_fn)}: must be a function (name, ob_space, ac_space) -> policy, such "
            "as baselines_ppo.MlpPolicy"
        )
    pi, oldpi = (policy_fn(name, ob_space, ac_space) for name in ("pi", "oldpi"))
    for policy in (pi, oldpi):
        _check_trainable(policy)
    if difference := policy_space_difference(pi, ob_space, ac_space, bounds=False):
        raise UserError(
            f"policy_fn returned a policy for {describe_spaces(pi.ob_space, pi.ac_space)}; env has "
            f"{describe_spaces(ob_space, ac_space)}: {difference}; build it with the spaces that policy_fn is given"
        )
    check_serializable(pi)
    _check_equal_on_ranks(pi, comm)
    pi_is_new, oldpi_is_new = (getattr(policy, "is_untouched", lambda: True)() for policy in (pi, oldpi))
    if oldpi is pi or not (pi_is_new and oldpi_is_new):
        oldpi = _copy(pi)  # the caller's object must change as pi only
    if pi_is_new and hasattr(pi, "initialise"):
        pi.initialise(seeding.generator(seed, seeding.INITIALISE))
    elif comm.rank == 0 and not pi_is_new:
        logging.getLogger("baselines_ppo").info(
            "learn: policy_fn returned a policy with its own weights; they are kept, and none are drawn from the seed"
        )
    for policy in (pi, oldpi):
        if policy.ob_rms is not None:
            policy.ob_rms.comm = comm
    return pi, oldpi


def _check_trainable(policy: Any) -> None:
    """Raise UserError unless `learn` can train the policy."""
    if not (hasattr(policy, "forward") and hasattr(policy, "encoder")):
        raise UserError(
            f"policy_fn returned a {type(policy).__name__}, which has no forward(ob); derive it from "
            "baselines_ppo.Policy (a policy of TensorFlow 1, with placeholders and a session, must be rewritten as in "
            "the migration table)"
        )


def _check_equal_on_ranks(pi: Policy, comm: Communicator) -> None:
    """Raise UserError, on all ranks, if the settings of the policy are not the same on all of them."""
    everyone: list[dict[str, Any]] = comm.gather(pi.spec()["settings"])
    for rank, settings in enumerate(everyone):
        for name in sorted(everyone[0].keys() | settings.keys()):
            first, other = everyone[0].get(name), settings.get(name)
            if first != other:
                raise UserError(
                    f"policy_fn returned a policy with {name}={safe_repr(first)} on rank 0, and with "
                    f"{name}={safe_repr(other)} on rank {rank}; all ranks need the same, such as a precision for all "
                    "instead of 'auto' where processors differ"
                )


def _copy(pi: Policy) -> Policy:
    """Copy a policy.

    Raises:
        UserError: if its class cannot be copied.
    """
    try:
        return copy.deepcopy(pi)
    except Exception as error:  # an attribute of a user's class may raise anything
        raise UserError(
            f"policy_fn returned a {type(pi).__name__} that cannot be copied for oldpi "
            f"({type(error).__name__}: {truncate(str(error))}); define a __getstate__ that leaves out what cannot be "
            "copied"
        ) from error
