"""A training's state as arrays: the contents of a checkpoint, their validation, and restoring a training."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from common.diagnostics.nonfinite import first_nonfinite_array
from common.errors import NonFiniteError, UserError
from common.formatting import safe_repr
from common.running_mean_std import RunningMeanStd
from common.storage.array_files import check_arrays
from common.validation import check_bool, check_float, check_int, error_prefix

Arrays = dict[str, np.ndarray]

POLICY_PREFIX = "pi/"
COUNTERS = ("timesteps_so_far", "episodes_so_far", "iters_so_far", "seed")  # integers; `elapsed` is a float
EPISODE_BUFFERS = {"rewbuffer": "float64", "lenbuffer": "int64"}  # name -> dtype
MAX_EPISODES = 100  # of each buffer


class Checkpointable(Protocol):
    """An object whose state a checkpoint holds."""

    def state(self) -> Arrays:
        """Return its state, {name: array}."""

    def restore(self, state: Arrays) -> None:
        """Set its state to what `state()` returned."""


def state_arrays(pi: Any, checkpointables: Mapping[str, Checkpointable]) -> Arrays:
    """Return the arrays that must be equal on all ranks: those of the policy and of every checkpointable.

    Args:
        pi: the policy.
        checkpointables: {name: object}; the name becomes the prefix of its arrays.
    """
    arrays = {f"{POLICY_PREFIX}{name}": x for name, x in pi.state().items()}
    for part, thing in checkpointables.items():
        arrays |= {f"{part}/{name}": np.asarray(x) for name, x in thing.state().items()}
    return arrays


def episode_buffer_arrays(rewbuffer: Iterable[float], lenbuffer: Iterable[int]) -> Arrays:
    """Return the returns and lengths of the last episodes as arrays, [up to 100] each."""
    return {"rewbuffer": np.array(rewbuffer, np.float64), "lenbuffer": np.array(lenbuffer, np.int64)}


def with_prefix(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays whose names begin with `prefix`, under their names without it."""
    return {name.removeprefix(prefix): x for name, x in arrays.items() if name.startswith(prefix)}


def restore_arrays(path: Path, arrays: Arrays, pi: Any, checkpointables: Mapping[str, Checkpointable]) -> None:
    """Restore the policy and every checkpointable from the arrays of a checkpoint.

    Args:
        path: the checkpoint's, for error messages.
        arrays: all arrays of the checkpoint.
        pi: the policy.
        checkpointables: as for `state_arrays`.

    Raises:
        UserError: if names, shapes or dtypes differ from those of this training.
    """
    check_arrays(path, arrays, state_arrays(pi, checkpointables) | {name: arrays[name] for name in EPISODE_BUFFERS})
    pi.restore(with_prefix(arrays, POLICY_PREFIX), path)
    for name, thing in checkpointables.items():
        with error_prefix(path):
            thing.restore(with_prefix(arrays, f"{name}/"))


def check_state_finite(
    pi: Any, checkpointables: Mapping[str, Checkpointable], iteration: int, everything: bool
) -> None:
    """Check that running statistics are finite. All ranks find the same, because their states are equal.

    Args:
        pi: the policy.
        checkpointables: as for `state_arrays`.
        iteration: the one that produced this state, for the message.
        everything: also check all other arrays, as before a checkpoint.

    Raises:
        NonFiniteError: for the first array that is not finite.
    """
    parts: list[tuple[str, Any]] = [("pi", pi), *checkpointables.items()]
    if not everything:
        statistics = [("pi/ob_rms", pi.ob_rms), *checkpointables.items()]
        parts = [(name, part) for name, part in statistics if isinstance(getattr(part, "rms", part), RunningMeanStd)]
    for name, part in parts:
        if bad := first_nonfinite_array(part.state(), name):
            raise NonFiniteError(
                f"{bad} at the end", "bring observations and rewards to the order of 1, or take a smaller step size"
            ).add_context(iteration=iteration)


def validate_checkpoint(path: Path, arrays: Arrays, metadata: dict[str, Any]) -> None:
    """Check the counters, log sizes, last episodes and parameters of a checkpoint.

    Raises:
        UserError: for the first value that no training could have written.
    """
    with error_prefix(path):
        _validate_metadata(metadata)
        for name, dtype in EPISODE_BUFFERS.items():
            x = arrays.get(name)
            if x is None or x.dtype != dtype or x.ndim != 1 or len(x) > MAX_EPISODES:
                found = "missing" if x is None else f"{x.dtype} {x.shape}"
                raise UserError(
                    f"invalid {name} ({found}): must be up to {MAX_EPISODES} {dtype}; use an older checkpoint"
                )
        if bad := first_nonfinite_array(with_prefix(arrays, POLICY_PREFIX), "pi"):
            raise UserError(f"{bad}; use an older checkpoint")


def _validate_metadata(metadata: dict[str, Any]) -> None:
    counters, logs = metadata.get("counters"), metadata.get("logs")
    is_valid = isinstance(counters, dict) and isinstance(logs, list) and all(isinstance(sizes, dict) for sizes in logs)
    if not is_valid:
        raise UserError(
            f"invalid counters={safe_repr(counters)} or logs={safe_repr(logs)}: must be those of a run; use an older "
            "checkpoint"
        )
    for name in COUNTERS:
        check_int(name, counters.get(name))
    check_float("elapsed", counters.get("elapsed"), 0, sys.float_info.max)
    check_bool("forced", metadata.get("forced"))
    for sizes in logs:
        for name, size in sizes.items():
            check_int(f"the size of {safe_repr(name)}", size)
