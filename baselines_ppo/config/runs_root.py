"""The parent directory of runs without an explicit path."""

import os
from pathlib import Path

from common.storage.paths import user_path

ROOT_VARIABLE = "BASELINES_PPO_RUNS"
DEFAULT_ROOT = "runs"


def runs_root() -> Path:
    """Return the directory of runs without an explicit path: `$BASELINES_PPO_RUNS`, or ./runs."""
    return user_path(os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT, ROOT_VARIABLE)
