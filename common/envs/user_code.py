"""Reports errors of the user's own modules as theirs, with file and line."""

from __future__ import annotations

import importlib
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType

import gymnasium

from common.errors import UserError
from common.formatting import safe_repr, truncate

SITE_DIRECTORIES = ("site-packages", "dist-packages")
LIBRARY_PREFIXES = tuple(f"{folder}/" for folder in (Path(gymnasium.__file__).parent, Path(__file__).parents[1]))
STDLIB_PREFIX = f"{sysconfig.get_path('stdlib')}/"


def is_user_file(file: str) -> bool:
    """Whether a file may be the user's: it is neither Python's, nor Gymnasium's, nor this package's."""
    return not file.startswith(("<frozen ", *LIBRARY_PREFIXES)) and (
        any(f"/{name}/" in file for name in SITE_DIRECTORIES) or not file.startswith(STDLIB_PREFIX)
    )


def origin_of(error: BaseException) -> tuple[BaseException, str | None]:
    """Find where the user's code raised an error.

    Returns:
        (the original error, 'FILE:LINE' of the innermost line of the user's code, or else of an installed package).
        (`error`, None) if neither is on the traceback.
    """
    one: BaseException | None = error
    while one is not None:
        if isinstance(one, SyntaxError) and one.filename:
            return one, f"{one.filename}:{one.lineno}"
        lines = [line for line in traceback.extract_tb(one.__traceback__) if is_user_file(line.filename)]
        own = [line for line in lines if not any(f"/{name}/" in line.filename for name in SITE_DIRECTORIES)]
        if lines:
            return one, f"{(own or lines)[-1].filename}:{(own or lines)[-1].lineno}"
        one = one.__cause__  # Gymnasium raises some errors again, with its own message
    return error, None


def user_location(error: BaseException) -> str | None:
    """Return 'FILE:LINE' of the user's code that raised `error`; None if it did not."""
    return origin_of(error)[1]


def describe_user_error(error: BaseException) -> str:
    """Return what the user's code did, as text.

    Such as 'raised ZeroDivisionError at shop.py:3: division by zero', or 'needs numba, which is not installed
    (shop.py:1)'.
    """
    error, place = origin_of(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"needs {error.name}, which is not installed{f' ({place})' if place else ''}"
    text = truncate(error.msg if isinstance(error, SyntaxError) else str(error))
    return f"raised {type(error).__name__}{f' at {place}' if place else ''}{f': {text}' if text else ''}"


def import_for(env_id: str, module: str) -> ModuleType:
    """Import a module of the user's, also from the working directory, as `python -m` does.

    Args:
        env_id: the environment that it registers, for messages.
        module: its name.

    Raises:
        UserError: if the module does not exist, needs another that is not installed, or raises an error.
    """
    if "" not in sys.path:
        sys.path.append("")  # last, so that no file here hides an installed package
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        if user_location(error) is not None:
            raise UserError(
                f"environment {safe_repr(env_id)}: its module {module} {describe_user_error(error)}"
            ) from error
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            hint = (
                f"give {module.removesuffix('.py')}"
                if module.endswith(".py")
                else "check its name, or add its directory to PYTHONPATH"
            )
            raise UserError(
                f"unknown environment {safe_repr(env_id)}: there is no module {error.name}; {hint}"
            ) from error
        raise UserError(
            f"unknown environment {safe_repr(env_id)}: {safe_repr(module)} is not a module name "
            f"({truncate(str(error))})"
        ) from error
