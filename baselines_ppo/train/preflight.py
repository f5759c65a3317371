"""What a run's settings would take of this machine, said before it starts: a slip of some zeros must not take the machine down."""

import math

from baselines_ppo.config.settings import ALGORITHMS
from common.errors import UserError
from common.runtime import os_features
from common.runtime.memory import check_memory

FILES = 64  # that a rank has open beside its monitor files


def check_resources(settings, pi):
    """Raises UserError if segments, minibatches or environments are more than this machine can hold.

    Args:
        settings: of one rank, resolved.
        pi: an example of the policy.
    """
    steps_name, rows_name = ALGORITHMS[settings["alg"]].counts()
    steps = settings[steps_name]
    (parameters,), entries = pi.pdtype.param_shape(), math.prod(pi.encoder.shape)
    step = entries * (pi.encoder.dtype.itemsize + 4) + 4 * (3 * parameters + math.prod(pi.pdtype.sample_shape())) + 64
    check_memory(step * steps, f"{steps_name}={steps}: a segment")
    if settings[rows_name] is not None and settings[rows_name] > steps:
        check_memory(step * settings[rows_name], f"{rows_name}={settings[rows_name]}: a minibatch")
    one_by_one = settings.get("recompute_adv") or settings.get("target_kl") is not None
    for name in ("vf_iters",) if one_by_one else ("optim_epochs", "vf_iters"):
        if name in settings:  # indices and weights of all its minibatches at once
            check_memory(16 * steps * settings[name], f"{name}={settings[name]}: the minibatches of a segment")
    check_memory(16 * settings["eval_episodes"], f"eval_episodes={settings['eval_episodes']}: an evaluation")
    processes = settings["env_workers"] or 1
    files, allowed = -(-settings["num_envs"] // processes), os_features.max_open_files()
    if allowed is not None and files > allowed - FILES:
        raise UserError(
            f"num_envs={settings['num_envs']} are {files:,} monitor files of one process, which may have {allowed:,} open; give fewer, "
            "or raise `ulimit -n`"
        )


def build_probe_policy(settings):
    """A policy as it will be built. UserError if environment and policy do not fit, or no file could hold the policy, before anything is written."""
    from baselines_ppo.policy_registry import policy_class
    from common.envs.factory import make_env
    from common.policies.files import check_serializable

    probe = make_env(settings["env"], env_kwargs=settings["env_kwargs"])
    policy = policy_class(settings["policy"])(
        "probe", probe.observation_space, probe.action_space, **settings["policy_settings"]
    )
    probe.close()
    check_serializable(policy)
    return policy
