"""What code of the user's own raises or lacks, in words that name it as theirs, with file and line."""

import importlib
import sys
import sysconfig
import traceback
from pathlib import Path

import gymnasium

from common.errors import UserError
from common.formatting import safe_repr, truncate

INSTALLED = ("site-packages", "dist-packages")
NOT_THEIRS = tuple(f"{folder}/" for folder in (Path(gymnasium.__file__).parent, Path(__file__).parents[1]))
STANDARD = f"{sysconfig.get_path('stdlib')}/"


def is_theirs(file):
    """Whether a line of `file` may be the user's: it is neither Python's, nor Gymnasium's, nor this package's."""
    return not file.startswith(("<frozen ", *NOT_THEIRS)) and (
        any(f"/{name}/" in file for name in INSTALLED) or not file.startswith(STANDARD)
    )


def origin_of(error):
    """(the error as the user's code raised it, 'FILE:LINE' of the innermost line of theirs that led to it or, where there is none, of a package that they
    have installed); (`error`, None) if neither had a part in it."""
    one = error
    while one is not None:
        if isinstance(one, SyntaxError) and one.filename:
            return one, f"{one.filename}:{one.lineno}"
        lines = [line for line in traceback.extract_tb(one.__traceback__) if is_theirs(line.filename)]
        own = [line for line in lines if not any(f"/{name}/" in line.filename for name in INSTALLED)]
        if lines:
            return one, f"{(own or lines)[-1].filename}:{(own or lines)[-1].lineno}"
        one = one.__cause__  # Gymnasium raises some again, with words of its own
    return error, None


def place_of(error):
    """'FILE:LINE' of the user's code that raised `error`; None if it did not."""
    return origin_of(error)[1]


def what_it_did(error):
    """What the user's code did that raised `error`: 'raised ZeroDivisionError at shop.py:3: division by zero', 'needs numba, which is not installed
    (shop.py:1)'."""
    error, place = origin_of(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"needs {error.name}, which is not installed{f' ({place})' if place else ''}"
    text = truncate(error.msg if isinstance(error, SyntaxError) else str(error))
    return f"raised {type(error).__name__}{f' at {place}' if place else ''}{f': {text}' if text else ''}"


def import_for(env_id, module):
    """Import a module of the user's. One in the current folder is found, too, as `python -m` finds it.

    Args:
        env_id: the environment that it is to register, for what is said.
        module: its name.

    Raises:
        UserError: if there is no such module, it needs another that is not there, or raises something.
    """
    if "" not in sys.path:
        sys.path.append("")  # last, so that nothing here stands in for what is installed
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        if place_of(error) is not None:
            raise UserError(f"environment {safe_repr(env_id)}: its module {module} {what_it_did(error)}") from error
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            hint = (
                f"give {module.removesuffix('.py')}"
                if module.endswith(".py")
                else "check its name, or put its folder on PYTHONPATH"
            )
            raise UserError(
                f"unknown environment {safe_repr(env_id)}: there is no module {error.name}; {hint}"
            ) from error
        raise UserError(
            f"unknown environment {safe_repr(env_id)}: {safe_repr(module)} is no module's name ({truncate(str(error))})"
        ) from error
