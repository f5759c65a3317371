"""Checks of the file system that run directories are written to."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from baselines_ppo.config.runs_root import runs_root
from baselines_ppo.doctor.finding import Finding
from common.errors import UserError
from common.storage.atomic import temp_path
from common.storage.directory_lock import DirectoryLock
from common.storage.paths import make_directory

PROBE_BYTES = 32 << 20
MIN_SPEED = 5e6  # bytes per second; a checkpoint of an image policy has about 20 MB
MIN_FREE_BYTES = 1 << 30


def check_disk(runs: Path | None) -> Iterator[Finding]:
    """Check that a directory for runs can be written and locked, how fast, and how much space is left.

    Args:
        runs: parent of the run directories, None for the default; directories that were missing are removed again.
    """
    runs = runs or runs_root()
    missing = [path for path in (runs, *runs.parents) if not path.exists()]
    try:
        make_directory(runs)
        yield _write_speed(runs)
        yield _lock(runs)
    except OSError as error:
        fix = "make it writable, or choose another with --run-dir or BASELINES_PPO_RUNS"
        yield Finding("run directory", f"{runs} cannot be written ({error.strerror})", fix)
        return
    finally:
        for path in missing:
            _remove_empty(path)
    free = shutil.disk_usage(runs if runs.exists() else missing[-1].parent).free
    fix = "" if free >= MIN_FREE_BYTES else "delete old runs, or choose another disk with --run-dir"
    yield Finding("free disk space", f"{free / 1e9:.1f} GB", fix)


def _write_speed(runs: Path) -> Finding:
    probe = temp_path(runs / "probe")
    started = time.monotonic()
    try:
        with probe.open("wb") as file:
            file.write(os.urandom(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    finally:
        probe.unlink(missing_ok=True)
    speed = PROBE_BYTES / (time.monotonic() - started)
    fix = "" if speed >= MIN_SPEED else "checkpoints will take long: choose another disk with --run-dir"
    return Finding("run directory", f"{runs} is written with {speed / 1e6:,.0f} MB/s", fix)


def _lock(runs: Path) -> Finding:
    probe = temp_path(runs / "probe-lock")
    probe.mkdir()
    try:
        lock = DirectoryLock(probe)
        warning = lock.warning
        lock.release()
    except UserError as error:
        warning = str(error)
    finally:
        shutil.rmtree(probe, ignore_errors=True)
    fix = "do not start two runs in one directory" if warning else ""
    return Finding("locks", "not supported by this file system" if warning else "work", fix, required=False)


def _remove_empty(path: Path) -> None:
    with contextlib.suppress(OSError):  # another process has written to it
        path.rmdir()
