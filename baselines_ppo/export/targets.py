"""Checks before an export: the path that it will write to, and the packages. Imports no TensorFlow."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from common.errors import UserError
from common.storage.paths import check_directory_writable, user_path
from common.storage.write_errors import user_error_on_os_error

PATH_HINT = "choose another place"
ONNX_PACKAGES = ("onnx", "onnxruntime", "tf2onnx")  # of the extra `onnx`


def require_vacant(path: str | bytes | os.PathLike[str], is_directory: bool) -> Path:
    """Create the parent directory of an export and check that it can be written, before a conversion that takes
    seconds.

    Args:
        path: the export's path.
        is_directory: whether it will be a directory, not a file.

    Returns:
        The absolute path, with links resolved.

    Raises:
        UserError: if something other than an empty directory or file exists there, or it cannot be written.
    """
    target = user_path(path)
    with user_error_on_os_error(target, PATH_HINT):
        target = target.resolve()
        if is_directory:
            is_empty = target.is_dir() and not any(target.iterdir())
        else:
            is_empty = target.is_file() and target.stat().st_size == 0
        if target.exists() and not is_empty:
            raise UserError(f"{target} exists and is not overwritten; {PATH_HINT}, or remove it first")
        check_directory_writable(target.parent)
    return target


def sample_path(path: Path) -> Path:
    """Return the file of the ONNX model `sample`, next to that of `act`: NAME.sample.onnx for NAME.onnx."""
    return path.with_name(f"{path.stem}.sample{path.suffix}")


def next_version(path: str | bytes | os.PathLike[str]) -> Path:
    """Return the directory of a model's next version, as TensorFlow Serving numbers them: MODEL/1, MODEL/2 and so on.

    Args:
        path: the model's directory, which may not exist yet.

    Raises:
        UserError: if it cannot be read.
    """
    model = user_path(path)
    with user_error_on_os_error(model, PATH_HINT):
        names = [entry.name for entry in model.iterdir()] if model.exists() else []
    return model / str(1 + max((int(name) for name in names if name.isdecimal()), default=0))


def require_onnx_packages() -> None:
    """Raise UserError unless the packages are installed that ONNX export needs."""
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX export needs {', '.join(missing)}; install the extra: pip install -e '.[onnx]'")
