"""The metadata of a run that are not settings: versions, commit, machine and command line."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PACKAGES = (
    "baselines_ppo",
    "tensorflow",
    "tensorflow-probability",
    "gymnasium",
    "mujoco",
    "ale-py",
    "mpi4py",
    "mpich",
    "numpy",
)
GIT_TIMEOUT = 5.0  # seconds


def package_versions() -> dict[str, str | None]:
    """Return the installed versions of Python and of the packages that affect results; None for a missing package."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def git_commit() -> str | None:
    """Return the commit of the source tree, with "+" if a tracked file is modified; None outside of a repository."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=GIT_TIMEOUT)
        modified = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if head.returncode != 0:
        return None
    return head.stdout.strip() + ("+" if modified.stdout.strip() else "")


def start_metadata() -> dict[str, Any]:
    """Return what config.json records about the start of a run: versions, command line, time and platform."""
    return {
        "versions": package_versions(),
        "argv": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "platform": platform.platform(),
    }
