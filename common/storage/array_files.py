"""Arrays and JSON in one safetensors file: written whole or not at all, and checked before anything of it is used.

Nothing that is loaded here can run code: there is no pickle, and no SavedModel is ever read.
"""

import hashlib
import json
import stat
import struct

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from common.errors import UnreadableFileError, UserError
from common.formatting import safe_repr
from common.runtime.memory import check_memory
from common.storage.atomic import atomic_write
from common.storage.json_values import as_json
from common.storage.paths import user_path

MAX_HEADER = 16 << 20  # bytes; a policy's header is a few thousand
LOAD_MEMORY_FACTOR = 3  # of a file while it is loaded: its bytes, its arrays, the variables


def _digest(arrays, metadata):
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def save_arrays(path, arrays, metadata):
    """Write arrays by name and a `metadata` dict, which must have a `format`, to one file. NumPy's numbers in it are written as Python's (`as_json`)."""
    metadata = {name: as_json(x, name, numbers_as_keys=True) for name, x in metadata.items()}
    arrays = {name: np.ascontiguousarray(x).reshape(np.shape(x)) for name, x in arrays.items()}
    # one key: safetensors writes several in any order, and equal models shall be equal files
    header = json.dumps({"metadata": metadata, "sha256": _digest(arrays, metadata)})
    if len(header) > MAX_HEADER // 4:  # which JSON in JSON and the arrays' names lengthen
        raise UserError(
            f"{path} would have {len(header):,} bytes of settings and spaces, which are not read back beyond {MAX_HEADER // 4:,}; "
            "give spaces whose bounds are the same everywhere"
        )
    atomic_write(path, save(arrays, metadata={"baselines_ppo": header}))


def load_arrays(path, *formats):
    """The arrays and the metadata of a file written by `save_arrays`.

    Args:
        formats: what the metadata's `format` may be.

    Raises:
        Unreadable: if it cannot be read, or another version wrote it.
        UserError: if it is truncated, damaged, or of another format.
    """
    path = user_path(path)
    try:
        status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise UserError(f"cannot read {path}: it is no file, but a device or a pipe")
        check_memory(LOAD_MEMORY_FACTOR * status.st_size, f"{path}, {status.st_size:,} bytes,")
        data = path.read_bytes()
    except UserError as error:
        raise UnreadableFileError(str(error)) from error
    except (OSError, ValueError, MemoryError) as error:
        raise UnreadableFileError(
            f"cannot read {path}: {getattr(error, 'strerror', None) or error or type(error).__name__}"
        ) from error
    try:
        header = json.loads(_read_header(data)["baselines_ppo"])
        metadata = header["metadata"]
        if not isinstance(metadata, dict) or metadata.get("format") not in formats:
            found = safe_repr(metadata.get("format") if isinstance(metadata, dict) else metadata)
            kind, other = (
                (UnreadableFileError, "another version of this package wrote it")
                if found.strip("'").startswith(formats)
                else (UserError, "give the file of the right kind")
            )
            raise kind(f"{path} is a {found}, not a {' or a '.join(map(repr, formats))}; {other}")
        arrays = load(data)
        if _digest(arrays, metadata) != header["sha256"]:
            raise UserError(
                f"{path} is damaged: its contents do not have the hash that was written with them; use an older copy"
            )
    except UserError:
        raise
    except MemoryError as error:
        raise UnreadableFileError(f"cannot read {path}: {type(error).__name__}") from error
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(
            f"{path} is not a whole file of this package ({type(error).__name__}); it may be truncated or foreign"
        ) from error
    return arrays, metadata


def _read_header(data):
    """The `__metadata__` of a safetensors file, before the library looks at the arrays."""
    if len(data) < 8:
        raise ValueError("shorter than a header's length")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(MAX_HEADER, len(data) - 8):
        raise ValueError("header longer than the file")
    return json.loads(data[8 : 8 + length])["__metadata__"]


def _listed(names):
    return safe_repr(names[:3]) if names else "nothing"


def check_arrays(path, arrays, expected):
    """Raises UserError unless `arrays` has the names, shapes and dtypes of `expected` (arrays by name)."""
    missing, extra = sorted(expected.keys() - arrays.keys()), sorted(arrays.keys() - expected.keys())
    if missing or extra:
        raise UserError(
            f"{path} holds another model: it lacks {_listed(missing)} and has {_listed(extra)} beside; "
            "load it with the settings it was trained with"
        )
    for name, x in expected.items():
        if arrays[name].shape != x.shape or arrays[name].dtype != x.dtype:
            raise UserError(
                f"{path} holds another model: {name} is {arrays[name].dtype} {arrays[name].shape}, here it is {x.dtype} {x.shape}; "
                "load it with the settings it was trained with"
            )
