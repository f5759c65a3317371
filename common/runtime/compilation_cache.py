"""Keeps what XLA compiles for a processor, so that later processes need not compile it again.

TensorFlow has such a cache. It ends a training if an entry is damaged or cannot be written, and it does not ask for
which processor an entry was compiled. Therefore there is a folder for each kind of processor and version, and only
entries whose digest is next to them are left in it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
import platform
import re
import secrets
import shutil
import stat
import time
from pathlib import Path

from common.runtime.cpu import cpu_flags, cpu_model

FOLDER_VARIABLE = "BASELINES_PPO_CACHE"  # the parent folder; "off" for none
FLAGS_VARIABLE = "TF_XLA_FLAGS"
NUMERIC_VARIABLES = (FLAGS_VARIABLE, "XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS")  # they may change what is compiled
MAX_BYTES = 64 << 20  # older entries beyond this size are removed
MIN_FREE_BYTES = 256 << 20  # of the disk, and otherwise there is no cache
PROBE_BYTES = 4 << 20  # written and removed before TensorFlow writes
GRACE = 60.0  # seconds in which an entry without a digest is kept: another process may be about to write it
ENTRY, DIGEST = ".pb", ".sha256"

log = logging.getLogger("baselines_ppo")
_folder: Path | None = None  # where this process's TensorFlow keeps its entries


def enable() -> Path | None:
    """Let TensorFlow keep what it compiles for the CPU. Call it before TensorFlow's import, and `seal` after compiling.

    Returns:
        The folder; None if the user switched it off or has another, or if it cannot be used.
    """
    global _folder
    flags = os.environ.get(FLAGS_VARIABLE, "")
    parent = os.environ.get(FOLDER_VARIABLE) or default_parent()
    is_wanted = parent != "off" and "tf_xla_persistent_cache" not in flags
    if not is_wanted or not cpu_flags():  # an unknown processor may be another one tomorrow
        return None
    try:
        folder = Path(parent) / _name_of_machine()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_private(folder) or shutil.disk_usage(folder).free < MIN_FREE_BYTES or len(str(folder).split()) > 1:
            return None  # TensorFlow splits its flags at spaces
        remove_unusable(folder)
        _check_writable(folder)
    except OSError as error:
        log.debug("no cache of compiled functions in %s: %s", parent, error)
        return None
    own = f"--tf_xla_persistent_cache_directory={folder} --tf_xla_persistent_cache_device_types=CPU"
    os.environ[FLAGS_VARIABLE] = f"{flags} {own}".strip()
    _folder = folder
    return folder


def seal() -> None:
    """Write the digests of new entries; without them they would be removed. Errors only lose the entries."""
    if _folder is None:
        return
    try:
        for entry in _folder.glob(f"*{ENTRY}"):
            digest_file = entry.with_suffix(DIGEST)
            if not digest_file.exists():
                partial = digest_file.with_name(f"{digest_file.name}.{secrets.token_hex(8)}")
                partial.write_text(_digest(entry), encoding="ascii")
                partial.replace(digest_file)
    except OSError as error:
        log.debug("the cache of compiled functions in %s is incomplete: %s", _folder, error)


def default_parent() -> str:
    """Return the folder of the user's caches, of this project."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "baselines_ppo")


def is_private(folder: Path) -> bool:
    """Whether only this user can write to a folder, whose contents will be executed."""
    if not hasattr(os, "getuid"):
        return True
    found = folder.stat()
    return found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def remove_unusable(folder: Path) -> None:
    """Remove damaged entries, what killed processes left, and the oldest entries beyond `MAX_BYTES`."""
    now, size = time.time(), 0
    ages = {path: now - path.stat().st_mtime for path in folder.iterdir()}
    for path, age in sorted(ages.items(), key=lambda item: item[1]):
        digest_file = path.with_suffix(DIGEST)
        if path.suffix == ENTRY and digest_file in ages:
            size += path.stat().st_size
            if size > MAX_BYTES or digest_file.read_bytes() != _digest(path).encode():
                path.unlink(missing_ok=True)
                digest_file.unlink(missing_ok=True)
        elif age > GRACE and not (path.suffix == DIGEST and path.with_suffix(ENTRY) in ages):
            path.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_writable(folder: Path) -> None:
    """Raise OSError if not even a few megabytes can be written, as with a full quota."""
    probe = folder / f"probe.{os.getpid()}.{secrets.token_hex(8)}"
    try:
        with probe.open("wb") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    finally:
        probe.unlink(missing_ok=True)


def _name_of_machine() -> str:
    """Return a name for the processor, the versions and the variables that determine what is compiled."""
    parts = [platform.machine(), cpu_model(), *sorted(cpu_flags()), importlib.metadata.version("tensorflow")]
    parts += [f"{name}={os.environ.get(name, '')}" for name in NUMERIC_VARIABLES]
    model = re.sub(r"[^a-z0-9]+", "-", (cpu_model() or platform.machine()).lower()).strip("-")
    return f"{model[:40]}-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:16]}"
