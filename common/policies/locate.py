"""Finds the file that holds a policy: in a run directory, a policy directory or a directory of runs."""

from __future__ import annotations

import os
from pathlib import Path

from common.errors import UserError
from common.runs.checkpoint_store import checkpoint_paths
from common.storage.paths import user_path

FILE_NAME = "policy.safetensors"


def find_policy(path: str | bytes | os.PathLike[str]) -> Path:
    """Return the file that holds a policy.

    Args:
        path: a run directory (its final policy, or that of the latest checkpoint), a policy directory, a policy file, a
            checkpoint, or a directory of runs (its latest run that has a policy).

    Raises:
        UserError: if there is none, or the directory cannot be read.
    """
    return find_policy_and_run(path)[0]


def find_policy_and_run(path: str | bytes | os.PathLike[str]) -> tuple[Path, Path | None]:
    """Return (file, run): what `find_policy` returns, and the run that was chosen if `path` is a directory of runs,
    else None.

    Raises:
        UserError: as in `find_policy`.
    """
    root = user_path(path)
    try:
        if file := policy_file_in(root):
            return file, None
        for run in latest_runs(root):
            if file := policy_file_in(run):
                return file, run
    except OSError as error:
        raise UserError(f"cannot search {root} for a policy: {error.strerror}") from error
    raise UserError(
        f"{root}: no policy found; choose a run directory, a directory of runs, a checkpoint, or a {FILE_NAME} file"
    )


def policy_file_in(path: Path) -> Path | None:
    """Return the file that holds the policy of a run directory, a policy directory or a path to a file.

    None if there is none.
    """
    for candidate in (path, path / FILE_NAME, path / "policy" / FILE_NAME):
        if candidate.exists() and not candidate.is_dir():
            return candidate
    return next(iter(checkpoint_paths(path)), None)


def latest_runs(path: Path) -> list[Path]:
    """Return the run directories directly inside a directory, the one that was started or resumed last first."""

    def age_and_name(config: Path) -> tuple[float, str]:
        return config.stat().st_mtime, config.parent.name

    return [config.parent for config in sorted(path.glob("*/config.json"), key=age_and_name, reverse=True)]
