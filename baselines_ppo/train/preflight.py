"""Checks before a run starts: a probe of its policy, and an estimate of what it needs of this machine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from baselines_ppo.config.resolved_config import ResolvedConfig
from baselines_ppo.config.run_settings import RunSettings
from baselines_ppo.policy_registry import policy_class
from common.envs.factory import make_env
from common.errors import UserError
from common.policies.base import Policy
from common.policies.files import check_serializable
from common.rollouts.sequences import check_whole_sequences, sequence_length
from common.runtime import os_features
from common.runtime.memory import check_memory
from common.storage.paths import writable_file
from common.validation import check_int

RESERVED_FDS = 64  # file descriptors that a rank has open besides its Monitor files
BYTES_PER_ROW_INDEX = 16  # an index and a weight of each row of a shuffled epoch
BYTES_PER_EPISODE = 16  # return and length of an episode of an evaluation


def build_probe_policy(config: ResolvedConfig) -> Policy:
    """Build the policy of a run, to learn its settings and shapes before anything is written.

    Raises:
        UserError: if environment and policy do not fit, or no file could describe the policy.
    """
    env = make_env(config.run.env, env_kwargs=config.run.env_kwargs, action_masks=config.run.action_masks)
    cls = policy_class(config.run.policy)
    policy = cls("probe", env.observation_space, env.action_space, **config.policy_kwargs)
    env.close()
    check_serializable(policy)
    return policy


def check_resources(config: ResolvedConfig, pi: Policy) -> None:
    """Estimate memory and file descriptors from the settings.

    It refuses a run that exceeds this machine's limits, for example after a typing error in a batch size, and one whose
    minibatches a memory cannot divide into sequences.

    Args:
        config: the run's.
        pi: a probe of its policy.

    Raises:
        UserError: naming the first setting that needs too much.
    """
    steps_name, samples_name = config.algorithm.counts()
    steps, samples = config.rollout_steps, config.minibatch_samples
    step_bytes = _bytes_per_step(pi)
    check_memory(step_bytes * steps, f"{steps_name}={steps}: a segment")
    if samples is not None and samples > steps:
        check_memory(step_bytes * samples, f"{samples_name}={samples}: a minibatch")
    values = config.values()
    if pi.recurrent and samples is not None and (samples_name != "vf_batchsize" or values.get("vf_iters")):
        environment_steps = steps // check_int("num_envs", config.run.num_envs, 1)
        check_whole_sequences(samples_name, samples, sequence_length(pi.memory_steps, environment_steps, samples))
    shuffles_each_epoch = values.get("recompute_adv") or values.get("target_kl") is not None
    for name in ("vf_iters",) if shuffles_each_epoch else ("optim_epochs", "vf_iters"):
        if name in values:  # the indices of all epochs are allocated at once
            size = BYTES_PER_ROW_INDEX * steps * values[name]
            check_memory(size, f"{name}={values[name]}: the minibatches of a segment")
    episodes = config.run.eval_episodes
    check_memory(BYTES_PER_EPISODE * episodes, f"eval_episodes={episodes}: an evaluation")
    check_file_descriptors(config.run)


def _bytes_per_step(pi: Policy) -> int:
    """Return the bytes of one step of a segment: observation, its float32 copy, action, policy outputs and scalars.

    With a memory also the state after the step, and its part of a sequence: its input again, and of the state before.
    """
    encoded = np.dtype((pi.encoder.dtype, pi.encoder.shape))
    memory_bytes = 0
    if pi.recurrent:
        state_bytes = 4 * pi.state_size
        memory_bytes = state_bytes - (-state_bytes // pi.memory_steps) + 1 + pi.layout.step_bytes
    action_bytes = pi.pdtype.sample_dtype().size * math.prod(pi.pdtype.sample_shape())
    (parameters,) = pi.pdtype.param_shape()
    return encoded.itemsize + 4 * _entries(encoded) + memory_bytes + 12 * parameters + action_bytes + 64


def _entries(dtype: np.dtype[Any]) -> int:
    """Return how many numbers an array element of this dtype has, in all fields of a record."""
    base, shape = dtype.base, math.prod(dtype.shape)
    if base.names is None:
        return shape
    return shape * sum(_entries(base[name]) for name in base.names)


def check_file_descriptors(run: RunSettings) -> None:
    """Raises UserError if the Monitor files of one process exceed its limit of open files."""
    monitor_files = -(-run.num_envs // (run.env_workers or 1))
    allowed = os_features.max_open_files()
    if allowed is not None and monitor_files > allowed - RESERVED_FDS:
        raise UserError(
            f"invalid num_envs={run.num_envs}: each process would open {monitor_files:,} Monitor files, of "
            f"{allowed:,} allowed; use fewer environments, or raise `ulimit -n`"
        )


def check_save_policy_path(run: RunSettings) -> None:
    """Create the directory of the file for the final policy. UserError if it cannot be written."""
    if run.save_policy:
        writable_file(run.save_policy, "--save-policy")
