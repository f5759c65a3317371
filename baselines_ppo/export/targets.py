"""Writing a folder as `common.storage.array_files.atomic_write` writes a file: whole or not at all, and over nothing."""

import contextlib
import shutil

from common.errors import UserError
from common.runtime import os_features
from common.storage.paths import beside, try_folder, user_path


def require_vacant(path, folder):
    """The real path of what will be written, in its folder, which is made and tried: the conversion takes some seconds.

    Args:
        path: where.
        folder: whether it will be a folder, or a file.

    Raises:
        UserError: if there is something else than an empty one, or it cannot be written.
    """
    path = user_path(path)
    with refusals(path):
        path = path.resolve()
        empty = path.is_dir() and not any(path.iterdir()) if folder else path.is_file() and path.stat().st_size == 0
        if path.exists() and not empty:
            raise UserError(f"{path} exists; nothing is overwritten: choose another, or remove it first")
        try_folder(path.parent)
    return path


@contextlib.contextmanager
def refusals(path):
    """What the file system refuses, in one line."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another place") from error


@contextlib.contextmanager
def atomic_directory(path):
    """A new folder beside `path` to write into, which takes its place in the end, or goes if the body raises."""
    made = beside(path)
    made.mkdir(parents=True)
    try:
        yield made
        for part in (*made.rglob("*"), made):
            os_features.sync(part)
        made.rename(path)  # refused, if there is something at `path` by now
    finally:
        shutil.rmtree(made, ignore_errors=True)
    os_features.sync(path.parent)
