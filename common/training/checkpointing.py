"""Saves a training's state: scheduled and forced checkpoints, the rescue after a failure, and the crash dump."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.diagnostics.crash_dump import write_crash_dump
from common.errors import NonFiniteError
from common.training.state import check_state_finite, episode_buffer_arrays, restore_arrays, state_arrays

if TYPE_CHECKING:
    from common.training.loop import TrainingLoop

COUNTERS = ("timesteps_so_far", "episodes_so_far", "iters_so_far", "elapsed", "seed")


def save_checkpoint(training: TrainingLoop, forced: bool = False) -> None:
    """Write a checkpoint of the state after the last iteration. Collective: every rank calls it, rank 0 writes.

    Args:
        training: the training; it has a run directory.
        forced: the training stops between two scheduled checkpoints.

    Raises:
        NonFiniteError, ReplicaDivergenceError: on all ranks, before anything is written.
        WriteError: if the file cannot be written.
    """
    folder = training.folder
    assert folder is not None
    # all ranks find the same below: a callback may have changed the state since the end of the iteration
    training.check_synced()
    check_state_finite(training.pi, training.checkpointables, training.iters_so_far - 1, everything=True)
    training.heartbeat.set_phase("checkpoint", training.iters_so_far)
    if training.logger is not None:
        training.logger.flush()
    logs = training.comm.gather(folder.log_sizes(training.comm.rank))
    if training.comm.rank != 0:
        return
    arrays = state_arrays(training.pi, training.checkpointables)
    arrays |= episode_buffer_arrays(training.rewbuffer, training.lenbuffer)
    counters = {name: getattr(training, name) for name in COUNTERS}
    metadata = {"counters": counters, "logs": logs, "policy": training.pi.spec()}
    folder.checkpoints.save(training.iters_so_far, arrays, metadata, forced)
    training.last_checkpoint_iter = training.iters_so_far


def save_initial_checkpoint(training: TrainingLoop) -> None:
    """Write a checkpoint before the first iteration, so that a resumed run does not repeat what has come before it.

    A training without a run directory writes none. Collective, and raises the errors of `save_checkpoint`.
    """
    if training.folder is not None:
        save_checkpoint(training)


def rescue_state(training: TrainingLoop) -> Path | None:
    """After a failure, save what the last iteration left, unless that is incomplete or saved already.

    Returns:
        The checkpoint's path; None if none was written. With several ranks it is always None, because the other ranks
        may not have come here.
    """
    is_saved = training.last_checkpoint_iter == training.iters_so_far
    if training.folder is None or training.comm.size > 1 or not training.is_between_iterations or is_saved:
        return None
    try:
        save_checkpoint(training, forced=True)
    except Exception:  # it must not hide the failure itself
        return None
    return training.folder.checkpoints.paths()[0]


def restore_state(training: TrainingLoop, checkpoint: tuple[dict[str, np.ndarray], dict[str, Any], Path]) -> None:
    """Restore (arrays, metadata, path) of `CheckpointStore.latest`, equal on all ranks.

    Raises:
        UserError: if the checkpoint is another run's.
    """
    arrays, metadata, path = checkpoint
    restore_arrays(path, arrays, training.pi, training.checkpointables)
    training.rewbuffer.extend(arrays["rewbuffer"].tolist())
    training.lenbuffer.extend(arrays["lenbuffer"].tolist())
    counters = metadata["counters"]
    training.timesteps_so_far = counters["timesteps_so_far"]
    training.episodes_so_far = counters["episodes_so_far"]
    training.iters_so_far = counters["iters_so_far"]
    training.elapsed_before = counters["elapsed"]


def dump_crash(training: TrainingLoop, error: NonFiniteError) -> str:
    """Write the crash dump of a non-finite number into the run directory; return where it is, as text."""
    assert training.folder is not None
    named = {"pi": training.pi, **training.checkpointables}
    state = {f"{name}/{key}": x for name, part in named.items() for key, x in part.state().items()}
    # an error of one rank happened while it acted with pi
    pi, seg = (training.oldpi, training.current_segment) if error.on_all_ranks else (training.pi, {})
    policy, rank = training.pi.spec(), training.comm.rank
    try:
        return write_crash_dump(training.folder.path, error.iteration, error, pi.state(), state, seg, policy, rank)
    except Exception as failure:  # it must not hide the error itself
        return f"no post-mortem could be written ({type(failure).__name__}: {failure})"
