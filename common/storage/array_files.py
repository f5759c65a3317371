"""Arrays and JSON metadata in one safetensors file, written atomically and verified before anything of it is used.

Loading never runs code: there is no pickle, and no SavedModel is ever read.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from common.errors import UnreadableFileError, UserError
from common.formatting import safe_repr
from common.runtime.memory import check_memory
from common.storage.atomic import atomic_write
from common.storage.json_values import to_json
from common.storage.paths import user_path

MAX_HEADER_BYTES = 16 << 20  # a policy's header has a few thousand
# The header is JSON text inside JSON, and the arrays' names come on top: both make it longer in the file
MAX_METADATA_LENGTH = MAX_HEADER_BYTES // 4
LOAD_MEMORY_FACTOR = 3  # memory for loading, in file sizes: the file's bytes, its arrays, the variables
METADATA_KEY = "baselines_ppo"
INVALID_FILE_ERRORS = (
    SafetensorError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
WRONG_SETTINGS = "load it with the settings it was trained with"


def _digest(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def save_arrays(path: str | os.PathLike[str], arrays: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Write named arrays and metadata to one file.

    Args:
        path: the file.
        arrays: {name: array or number}.
        metadata: a dict with a `format`. NumPy's numbers in it are written as Python's (`to_json`).

    Raises:
        UserError: if the metadata has no JSON form, or is too long to be read back.
        WriteError: if the system refuses.
    """
    metadata = {name: to_json(value, name, allow_number_keys=True) for name, value in metadata.items()}
    arrays = {name: np.ascontiguousarray(x).reshape(np.shape(x)) for name, x in arrays.items()}
    # one key, because safetensors writes several in random order, and equal models must be equal files
    header = json.dumps({"metadata": metadata, "sha256": _digest(arrays, metadata)})
    if len(header) > MAX_METADATA_LENGTH:
        raise UserError(
            f"{path} would have {len(header):,} bytes of settings and spaces: must be at most "
            f"{MAX_METADATA_LENGTH:,}; use spaces whose bounds are the same for all entries"
        )
    atomic_write(path, save(arrays, metadata={METADATA_KEY: header}))


def load_arrays(path: str | os.PathLike[str], *formats: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the metadata of a file written by `save_arrays`.

    Args:
        path: the file.
        formats: the accepted values of the metadata's `format`.

    Raises:
        UnreadableFileError: if it cannot be read, or another version wrote it.
        UserError: if it is truncated, damaged or has another format.
    """
    path = user_path(path)
    data = _read(path)
    try:
        header = json.loads(_read_header(data)[METADATA_KEY])
        metadata = header["metadata"]
        _check_format(path, metadata, formats)
        arrays = load(data)
        if _digest(arrays, metadata) != header["sha256"]:
            raise UserError(f"{path} is damaged: its contents do not match the hash stored in it; use an older copy")
    except UserError:
        raise
    except MemoryError as error:
        raise UnreadableFileError(f"cannot read {path}: {type(error).__name__}") from error
    except INVALID_FILE_ERRORS as error:
        raise UserError(
            f"{path} is not a valid file of this package ({type(error).__name__}); it may be truncated or foreign"
        ) from error
    return arrays, metadata


def _read(path: Path) -> bytes:
    """Return a file's bytes; UnreadableFileError if it cannot be read or needs more memory than there is."""
    try:
        status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise UserError(f"cannot read {path}: it is a device or a pipe; use a regular file")
        check_memory(LOAD_MEMORY_FACTOR * status.st_size, f"{path} ({status.st_size:,} bytes)")
        return path.read_bytes()
    except UserError as error:
        raise UnreadableFileError(str(error)) from error
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        raise UnreadableFileError(f"cannot read {path}: {reason}") from error


def _check_format(path: Path, metadata: Any, formats: Sequence[str]) -> None:
    """Raise UserError, or UnreadableFileError for another version's file, unless the metadata has one of `formats`."""
    found = metadata.get("format") if isinstance(metadata, dict) else metadata
    if isinstance(metadata, dict) and found in formats:
        return
    shown = safe_repr(found)
    expected = " or a ".join(map(repr, formats))
    if shown.strip("'").startswith(tuple(formats)):
        raise UnreadableFileError(f"{path} is a {shown}, not a {expected}; another version of this package wrote it")
    raise UserError(f"{path} is a {shown}, not a {expected}; use a file of that format")


def _read_header(data: bytes) -> dict[str, str]:
    """Return the `__metadata__` of a safetensors file, before the library reads the arrays."""
    if len(data) < 8:
        raise ValueError("shorter than the length of a header")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise ValueError("header longer than the file")
    metadata: dict[str, str] = json.loads(data[8 : 8 + length])["__metadata__"]
    return metadata


def check_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> None:
    """Raise UserError unless loaded `arrays` have the names, shapes and dtypes of `expected`."""
    missing = sorted(expected.keys() - arrays.keys())
    extra = sorted(arrays.keys() - expected.keys())
    if missing or extra:
        raise UserError(
            f"{path} contains another model: missing arrays {_first_names(missing)}, unexpected arrays "
            f"{_first_names(extra)}; {WRONG_SETTINGS}"
        )
    for name, x in expected.items():
        if arrays[name].shape != x.shape or arrays[name].dtype != x.dtype:
            raise UserError(
                f"{path} contains another model: {name} is {arrays[name].dtype} {arrays[name].shape}, expected "
                f"{x.dtype} {x.shape}; {WRONG_SETTINGS}"
            )


def _first_names(names: list[str]) -> str:
    return safe_repr(names[:3]) if names else "none"
