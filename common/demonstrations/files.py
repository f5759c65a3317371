"""Demonstrations in files: NumPy's .npz, and Minari data sets."""

from __future__ import annotations

import importlib
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from common.demonstrations.data import Demonstrations, Entries
from common.errors import UnreadableFileError, UserError
from common.formatting import safe_repr, truncate
from common.runtime.memory import check_memory
from common.storage.atomic import atomic_write
from common.storage.paths import user_path, writable_file

MINARI_PREFIX = "minari:"
LOAD_MEMORY_FACTOR = 3  # memory for loading, in sizes of the arrays: as read, encoded, and as the network's input


def load_demonstrations(source: str | os.PathLike[str] | Demonstrations) -> Demonstrations:
    """Read demonstrations.

    Args:
        source: a .npz file, `minari:` and the id of a Minari data set, or `Demonstrations`, which are returned.

    Raises:
        UserError: if the source cannot be read, or holds no demonstrations.
    """
    if isinstance(source, Demonstrations):
        return source
    if isinstance(source, str) and source.startswith(MINARI_PREFIX):
        return _load_minari(source.removeprefix(MINARI_PREFIX))
    path = user_path(source, "demonstrations")
    return Demonstrations.from_entries(_read_npz(path), str(path))


def source_name(source: str | os.PathLike[str] | Demonstrations) -> str:
    """Return the text by which another run finds the demonstrations: an absolute path, an id, or a description.

    Raises:
        UserError: if it is not a path.
    """
    if isinstance(source, Demonstrations):
        return source.source
    if isinstance(source, str) and source.startswith(MINARI_PREFIX):
        return source
    return str(user_path(source, "demonstrations").absolute())


def save_demonstrations(path: str | os.PathLike[str], data: Demonstrations) -> None:
    """Write demonstrations to a .npz file, atomically.

    Raises:
        UserError: if the name does not end in .npz, or no file can be written there.
        WriteError: if the system refuses.
    """
    check_file_name(path)
    file = writable_file(path, "demonstrations")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **data.entries)
    atomic_write(file, buffer.getvalue())


def check_file_name(path: str | os.PathLike[str], name: str = "demonstrations") -> None:
    """Raise UserError unless a file's name ends in .npz."""
    if user_path(path, name).suffix != ".npz":
        raise UserError(f"invalid {name}={safe_repr(str(path))}: must end in .npz")


def _read_npz(path: Path) -> Entries:
    """Return the arrays of a .npz file. Nothing in it is executed: pickled objects are refused."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(one.file_size for one in archive.infolist())
        check_memory(LOAD_MEMORY_FACTOR * size, f"{path} ({size:,} bytes)")
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except UserError:
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UnreadableFileError(
            f"cannot read {path}: {reason}; demonstrations are a .npz file, or {MINARI_PREFIX} and a data set's id"
        ) from error
    except MemoryError as error:
        raise UnreadableFileError(f"cannot read {path}: it needs more memory than there is; use fewer steps") from error
    except Exception as error:  # the parts of a damaged archive raise anything
        raise UserError(
            f"{path} is not a .npz file of arrays ({type(error).__name__}: {truncate(str(error))}); write it by "
            "numpy.savez, with arrays of numbers"
        ) from error


def _load_minari(dataset_id: str) -> Demonstrations:
    """Return the episodes of a data set in Minari's local storage; nothing is downloaded."""
    source = MINARI_PREFIX + dataset_id
    minari = _import_minari()
    try:
        return Demonstrations.from_episodes(_episodes(minari.load_dataset(dataset_id)), source)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{source} is not on this machine; download it: minari download {dataset_id}") from error
    except Exception as error:  # of Minari and the libraries of its formats
        raise UserError(
            f"{source} cannot be read ({type(error).__name__}: {truncate(str(error))}); check the id, or download the "
            f"data set again: minari download {dataset_id}"
        ) from error


def _import_minari() -> ModuleType:
    try:
        return importlib.import_module("minari")
    except ImportError as error:
        raise UserError(
            "a Minari data set needs the package minari: pip install 'baselines_ppo[demonstrations]'"
        ) from error


def _episodes(dataset: Any) -> Iterator[dict[str, Any]]:
    """Yield the episodes of a `minari.MinariDataset` as `Demonstrations.from_episodes` takes them."""
    names = ("observations", "actions", "rewards", "terminations", "truncations")
    for episode in dataset.iterate_episodes():
        yield {name: getattr(episode, name) for name in names}
