"""Starting a run from a trained policy: `--load-path` without `--play`, and `learn(load_path=...)`.

The run takes over the policy's weights and observation filter. Adam, return scale, schedules and counters start from
zero. The run's directory keeps a copy, so that a run that is killed before its first checkpoint restarts from the same
weights even if the file has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from baselines_ppo.config.policy_settings import POLICY_CLASS_NAMES
from baselines_ppo.config.registry import INIT_ONLY_SETTINGS
from baselines_ppo.config.resolved_config import ResolvedConfig
from baselines_ppo.experiment.artifacts import environment_metadata
from common.distributed.communicator import Communicator
from common.errors import UserError
from common.hints import USE_CNN, USE_MLP
from common.policies.base import Policy
from common.policies.files import build_policy, read_policy
from common.policies.locate import find_policy
from common.policies.space_comparison import check_spaces
from common.runs.run_directory import RunDirectory
from common.storage.write_errors import raises_write_error

INITIAL_COPY = "start/policy.safetensors"  # in the run's directory
CLASS_HINTS = {POLICY_CLASS_NAMES["mlp"]: USE_MLP, POLICY_CLASS_NAMES["cnn"]: USE_CNN}


def as_arguments(settings: dict[str, Any]) -> list[str]:
    """Return policy settings as the text with which a caller of `learn` gives them."""
    return [f"{', '.join(f'{name}={value!r}' for name, value in settings.items())} to the policy"]


def load_initial_policy(
    path: str | Path,
    pi: Policy,
    comm: Communicator,
    format_settings: Callable[[dict[str, Any]], list[str]] = as_arguments,
) -> tuple[str, dict[str, np.ndarray]]:
    """Read a trained policy on rank 0 and return it on all ranks.

    Args:
        path: as for `find_policy`.
        pi: the run's policy, or a probe of it, with which the loaded one must be compatible.
        comm: the ranks.
        format_settings: function (policy settings) -> texts with which the user gives them.

    Returns:
        (file, state): the policy's file and its `Policy.state()`.

    Raises:
        UserError: on all ranks, if there is no policy, or it is not compatible.
    """

    def read() -> tuple[str, dict[str, np.ndarray]]:
        file = find_policy(path).resolve()
        return str(file), load_compatible_policy(file, pi, format_settings).state()

    return comm.run_on_root(read)


def load_compatible_policy(
    file: Path, pi: Policy, format_settings: Callable[[dict[str, Any]], list[str]] = as_arguments
) -> Policy:
    """Load a policy. UserError if its class, spaces or settings differ from those of `pi`."""
    arrays, metadata = read_policy(file)
    file_class, run_class = metadata.get("class"), type(pi).__name__
    if file_class != run_class and file_class in CLASS_HINTS:
        raise UserError(
            f"{file} holds a policy of class {file_class}, this run has one of class {run_class}; "
            f"{CLASS_HINTS[file_class]}"
        )
    loaded = build_policy(type(pi), file, arrays, metadata)
    check_spaces(file, loaded, pi.ob_space, pi.ac_space, "this run")
    run_settings = pi.settings()
    different = {
        name: value
        for name, value in loaded.settings().items()
        if name not in INIT_ONLY_SETTINGS and value != run_settings.get(name)
    }
    if different:
        in_file = ", ".join(f"{name}={value}" for name, value in different.items())
        in_run = ", ".join(f"{name}={run_settings.get(name)}" for name in different)
        raise UserError(
            f"{file} holds a policy with {in_file}, this run has one with {in_run}; "
            f"give {' '.join(format_settings(different))}"
        )
    return loaded


def save_initial_copy(
    directory: RunDirectory, pi: Policy, state: dict[str, np.ndarray], source: str, config: ResolvedConfig
) -> None:
    """Write the copy of the initial policy to the run's directory.

    Args:
        directory: the run's directory.
        pi: a probe of the run's policy; set to `state`.
        state: the initial policy's `Policy.state()`.
        source: the file that it was read from.
        config: the run's.
    """
    path = directory.path / INITIAL_COPY
    with raises_write_error(path):
        directory.verify_ownership()
        path.parent.mkdir(exist_ok=True)
    pi.restore(state, source)
    pi.save(path, source=source, **environment_metadata(config))


def load_weights_into(path: str | Path, pi: Policy, comm: Communicator) -> None:
    """Set a policy, on all ranks, to the weights and observation filter of the policy at `path`.

    Raises:
        UserError: as `load_initial_policy`.
    """
    file, state = load_initial_policy(path, pi, comm)
    pi.restore(state, file)
