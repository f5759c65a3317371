"""The file in which a failed run records why, for the program that started it (a sweep)."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from common.storage.atomic import atomic_write

FAILURE_FILE_VARIABLE = "BASELINES_PPO_FAILURE_FILE"  # environment variable that asks for the file, and names it


def record_failure(status: int, reason: str) -> None:
    """Write exit status and reason to the file that `FAILURE_FILE_VARIABLE` names, if it is set; atomically.

    The first report of a job is kept. A file that cannot be written is ignored.
    """
    path = os.environ.get(FAILURE_FILE_VARIABLE)
    if not path or os.path.exists(path):
        return
    with contextlib.suppress(OSError):
        atomic_write(path, (json.dumps({"status": status, "reason": reason}) + "\n").encode())


def read_failure_reason(path: str | Path) -> str | None:
    """Return the reason in a failure file, or None if there is none."""
    try:
        reason = json.loads(Path(path).read_text(encoding="utf-8"))["reason"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return reason if isinstance(reason, str) else None
