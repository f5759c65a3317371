"""Resuming a run: with which settings, and from which checkpoint.

Every rank takes the same decisions, and everything is checked before a file of the run is changed. The checkpoint
files are in `common.runs.checkpoint_store`, their contents in `common.training.state`, the run that is resumed in
`previous_run`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baselines_ppo.config.common_settings import split_over_ranks
from baselines_ppo.config.registry import RESUME_FREE, STOP_SETTINGS
from baselines_ppo.config.resolve import expand_network
from baselines_ppo.config.resolved_config import ResolvedConfig
from baselines_ppo.config.run_settings import RunSettings
from baselines_ppo.experiment.metadata import package_versions
from baselines_ppo.train.previous_run import PreviousRun
from common.distributed.communicator import Communicator
from common.errors import UserError
from common.formatting import safe_repr
from common.policies.space_comparison import space_difference
from common.policies.space_serialization import from_json
from common.policies.untrusted import max_space_entries
from common.runs.checkpoint_store import Checkpoint
from common.runs.log_files import RunLogFiles
from common.runs.run_directory import RunDirectory
from common.storage.array_files import check_arrays
from common.training.state import POLICY_PREFIX, validate_checkpoint, with_prefix
from common.validation import check_int, error_prefix

if TYPE_CHECKING:
    from common.policies.base import Policy

# ---- settings


def resume_config(previous: PreviousRun, explicit: Mapping[str, Any], ranks: int) -> ResolvedConfig:
    """Return the config of a resumed run.

    Args:
        previous: the run.
        explicit: the settings that the user gives now.
        ranks: number of ranks of this job.

    Raises:
        UserError: if the number of ranks or a fixed setting differs, or a setting is invalid.
    """
    check_ranks(previous, ranks)
    explicit = expand_network(explicit)
    config = resumed_config(
        drop_unchanged_starts(explicit, previous.config.explicit), previous.config, ranks, previous.path
    )
    check_config(config, previous.path)
    return replace(config, explicit=merge_resume_overrides(previous.config.explicit, explicit))


def check_ranks(previous: PreviousRun, ranks: int) -> None:
    """Raises UserError if a run was trained on another number of ranks."""
    if previous.ranks != ranks:
        raise UserError(
            f"{previous.path} was trained on {previous.ranks} ranks, this job has {ranks}; use {previous.ranks}"
        )


def resumed_config(
    explicit: Mapping[str, Any], previous: ResolvedConfig, ranks: int, path: str | Path
) -> ResolvedConfig:
    """Return the config of a run with the stop settings and outputs that are given for its resume.

    Args:
        explicit: the settings that the user gives now.
        previous: the run's config.
        ranks: number of ranks.
        path: the run's directory, for error messages.

    Raises:
        UserError: if a setting that cannot change on resume is given another value.
    """
    values = previous.values() | previous.policy_kwargs
    for name, value in explicit.items():
        value_per_rank = per_rank(name, value, previous, ranks)
        if name not in RESUME_FREE and value_per_rank != values.get(name):
            conversion = "" if value_per_rank == value else f", {value_per_rank!r} per rank"
            raise UserError(
                f"--resume: {name}={value!r}{conversion}, but the run in {path} has {values.get(name)!r}; "
                "leave it out, or start a new run"
            )
    overrides = {name: value for name, value in explicit.items() if name in RESUME_FREE}
    return previous.with_run(**_unset_stop_settings(overrides) | overrides)


def _unset_stop_settings(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of all stop settings if one of them is given, because it replaces the previous one."""
    if not any(name in overrides for name in STOP_SETTINGS):
        return {}
    return {field.name: field.default for field in fields(RunSettings) if field.name in STOP_SETTINGS}


def per_rank(name: str, value: Any, previous: ResolvedConfig, ranks: int) -> Any:
    """Convert a setting that is given on the command line, where counts may be totals, to its value of one rank."""
    steps_name, samples_name = previous.algorithm.counts()
    if previous.run.batch == "total" and name == steps_name:
        return split_over_ranks(value, ranks, previous.run.num_envs)
    if previous.run.batch == "total" and name == samples_name and value is not None:
        return min(split_over_ranks(value, ranks), previous.rollout_steps)
    return value


def merge_resume_overrides(previous: Mapping[str, Any], explicit: Mapping[str, Any]) -> dict[str, Any]:
    """Return the explicit settings of a run updated with those of its resume; a stop setting replaces another one."""
    overrides = {name: value for name, value in explicit.items() if name in RESUME_FREE}
    replaced = STOP_SETTINGS if any(name in overrides for name in STOP_SETTINGS) else ()
    return {name: value for name, value in previous.items() if name not in replaced} | overrides


def drop_unchanged_starts(explicit: Mapping[str, Any], previous: Mapping[str, Any]) -> dict[str, Any]:
    """Return the explicit settings without the policy or demonstrations that the run was started with: they have no
    effect any more.
    """
    starts = ("load_path", "demonstrations")
    return {name: value for name, value in explicit.items() if name not in starts or value != previous.get(name)}


def check_config(config: ResolvedConfig, path: str | Path) -> None:
    """Raises UserError for the first invalid setting of a resumed run; its message names the config.json."""
    with error_prefix(f"--resume: {path}/config.json"):
        check_int("num_envs", config.run.num_envs)  # resolved at the start of every run, so never None
        config.check()


# ---- checkpoint


def rewind_to_checkpoint(directory: RunDirectory, comm: Communicator, exact: bool, pi: Policy) -> Checkpoint | None:
    """Restore a run's directory to the state at the checkpoint from which it resumes, on all ranks.

    Args:
        directory: the run's directory.
        comm: the ranks.
        exact: skip forced checkpoints.
        pi: a probe of the run's policy, with which the checkpoint must be compatible.

    Returns:
        The checkpoint, or None if there is none yet.

    Raises:
        UserError: if no checkpoint can be used. Nothing has been changed then.
        WriteError: if a file cannot be changed.
    """
    checkpoint = select_checkpoint(directory, comm, exact)
    if checkpoint is not None:
        check_compatible(checkpoint, pi, comm.size)
    sizes = checkpoint.metadata["logs"][comm.rank] if checkpoint else {}
    logs = RunLogFiles(directory.path, comm.rank)
    missing = sum(comm.gather(logs.check(sizes)), [])  # also waits until every rank has checked
    if comm.rank == 0:
        if missing:
            logging.getLogger("baselines_ppo").warning("%s: continuing without these rows", ", ".join(missing))
        directory.discard_after(checkpoint.path if checkpoint else None)
    # logs are truncated last: if the process were killed between the two steps in the other order, a newer checkpoint
    # would remain whose logs are too short
    comm.barrier()
    logs.truncate_to(sizes)
    return checkpoint


def select_checkpoint(directory: RunDirectory, comm: Communicator, exact: bool) -> Checkpoint | None:
    """Return, on all ranks, the checkpoint that rank 0 selects and reads.

    Other hosts do not read it themselves, because a shared file system may show them an outdated directory.
    """

    def select() -> Checkpoint | None:
        checkpoint = directory.checkpoints.latest(validate_checkpoint, exact)
        if checkpoint is None and directory.checkpoints.paths():
            raise UserError(
                f"--resume exact: {directory.path} has no scheduled checkpoint yet, only a forced one; "
                "resume from it with --resume"
            )
        return checkpoint

    return comm.run_on_root(select)


def check_compatible(checkpoint: Checkpoint, pi: Policy, ranks: int) -> None:
    """Raises UserError unless a checkpoint was written by a run with this policy on as many ranks."""
    path = checkpoint.path
    hint = "it belongs to another run: move it away"
    checkpoint_ranks = len(checkpoint.metadata["logs"])
    if checkpoint_ranks != ranks:
        raise UserError(f"{path} was written by {checkpoint_ranks} ranks, the run in its directory has {ranks}; {hint}")
    check_arrays(path, with_prefix(checkpoint.arrays, POLICY_PREFIX), pi.state())
    spec = checkpoint.metadata.get("policy")
    if not isinstance(spec, dict):
        return
    class_name = type(pi).__name__
    if spec.get("class") != class_name:
        raise UserError(
            f"{path} has a policy of class {safe_repr(spec.get('class'))}, the run in its directory "
            f"one of class {safe_repr(class_name)}; {hint}"
        )
    max_entries = max_space_entries(sum(x.size for x in checkpoint.arrays.values()))
    for key, space in (("ob_space", pi.ob_space), ("ac_space", pi.ac_space)):
        with error_prefix(path):
            mismatch = space_difference(from_json(spec.get(key), max_entries), space)
        if mismatch:
            raise UserError(f"{path} has another {key}: {mismatch} in the run in its directory; {hint}")


# ---- messages


def resume_lines(
    previous: PreviousRun, explicit: Mapping[str, Any], checkpoint: Checkpoint | None, skipped: Mapping[Path, str]
) -> list[str]:
    """Return lines on where a run resumes and what has changed since.

    Args:
        previous: the run.
        explicit: the settings that the user gave.
        checkpoint: the checkpoint from which it resumes; None if there is none.
        skipped: {path: reason} of corrupt checkpoints that were skipped.
    """
    lines = [
        f"skipped a corrupt checkpoint ({reason}); renamed to {path.name}.damaged" for path, reason in skipped.items()
    ]
    if checkpoint is None:
        lines.append("no checkpoint yet: training starts from the beginning")
    else:
        lines.append(f"continuing from {checkpoint.path.name}")
        if checkpoint.metadata["forced"]:
            lines.append(
                "this is a forced checkpoint: nothing is lost, but an uninterrupted run would not have truncated its "
                "episodes here"
            )
    for name in RESUME_FREE:
        value_before = getattr(previous.config.run, name)
        if name in explicit and explicit[name] != value_before:
            lines.append(f"{name} is now {explicit[name]}, was {value_before}")
    changed = {name for name, version in package_versions().items() if version != previous.versions.get(name)}
    if changed:
        lines.append(f"versions have changed of {', '.join(sorted(changed))}: the result may not be bit-identical")
    return lines
