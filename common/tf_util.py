"""The part of Baselines' `tf_util` that callbacks use: saving and loading variables.

    from common import tf_util as U

There is no session. Variables are passed explicitly; inside a callback they default to those of the training's policy.
Files are safetensors, so that loading one runs no code.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from common.errors import UserError
from common.storage.array_files import check_arrays, load_arrays, save_arrays
from common.storage.paths import file_path, user_path
from common.storage.write_errors import raises_write_error

if TYPE_CHECKING:
    import tensorflow as tf

FORMAT = "baselines_ppo.variables"
UserPath = str | bytes | os.PathLike[str]

_default_variables: contextvars.ContextVar[Sequence[tf.Variable] | None] = contextvars.ContextVar(
    "variables of the training that runs the current callback", default=None
)


def save_variables(save_path: UserPath, variables: Sequence[tf.Variable] | None = None, sess: Any = None) -> None:
    """Write variables to a file, and create its directory.

    Args:
        save_path: the file.
        variables: `pi.get_variables()`, which includes the observation filter and makes a policy file that
            `load_policy` reads, too; or any list of `tf.Variable`. None, inside a callback: those of the training's pi.
        sess: ignored.

    Raises:
        UserError: if there are no variables, or `save_path` cannot name a file.
        WriteError: if the system refuses.
    """
    variables = _resolve_variables(variables, "save_variables", "pi.save(path)")
    if hasattr(variables, "policy"):
        variables.policy.save(save_path)
    else:
        with raises_write_error(str(save_path)):
            path = file_path(save_path, "save_path")
        save_arrays(path, {name: v.numpy() for name, v in variables_by_name(variables).items()}, {"format": FORMAT})


def load_variables(load_path: UserPath, variables: Sequence[tf.Variable] | None = None, sess: Any = None) -> None:
    """Assign to variables the values in a file that `save_variables` or `save_state` wrote.

    Args:
        load_path: the file.
        variables: as in `save_variables`.
        sess: ignored.

    Raises:
        UserError: if there is no file, it is corrupt, or it holds other variables.
    """
    variables = _resolve_variables(variables, "load_variables", "pi = load_policy(path)")
    path = user_path(load_path, "load_path")
    if hasattr(variables, "policy"):
        variables.policy.restore_from(path)
        return
    arrays = load_arrays(path, FORMAT)[0]
    named = variables_by_name(variables)
    check_arrays(path, arrays, {name: v.numpy() for name, v in named.items()})
    for name, v in named.items():
        v.assign(arrays[name])


def save_state(fname: UserPath, sess: Any = None) -> None:
    """In a callback, write the training's policy, as `save_variables` does.

    Elsewhere, raise UserError with the line to use instead.
    """
    save_variables(fname, _resolve_variables(None, "save_state", "pi.save(path)"))


def load_state(fname: UserPath, sess: Any = None) -> None:
    """In a callback, load a saved policy, as `load_variables` does.

    Elsewhere, raise UserError with the line to use instead.
    """
    load_variables(fname, _resolve_variables(None, "load_state", "pi = load_policy(path)"))


def __getattr__(name: str) -> NoReturn:
    raise AttributeError(
        f"common.tf_util has no {name}, because there is no session: leave the call out, or see "
        "docs/migration/baselines-ppo1.md; it has save_variables, load_variables, save_state and load_state"
    )


def variables_by_name(variables: Sequence[tf.Variable]) -> dict[str, tf.Variable]:
    """Return {name: variable}.

    A name contains the position in the list, because TensorFlow's names need not be unique.
    """
    return {f"{i:03d}/{v.name.split(':')[0]}": v for i, v in enumerate(variables)}


@contextlib.contextmanager
def default_variables(variables: Sequence[tf.Variable]) -> Iterator[None]:
    """Context manager in which these are the default variables, as those of a session would be: for callbacks."""
    token = _default_variables.set(variables)
    try:
        yield
    finally:
        _default_variables.reset(token)


def _resolve_variables(
    variables: Sequence[tf.Variable] | None, function: str, alternative: str
) -> Sequence[tf.Variable]:
    """Return `variables`, or else the default ones.

    Raises:
        UserError: if there are none, with the line `alternative` to use instead of `function`.
    """
    resolved = variables or _default_variables.get()
    if not resolved:
        raise UserError(
            f"{function}: there is no session that defines the variables; use {alternative}, or "
            f"U.{function.replace('state', 'variables')}(path, variables=pi.get_variables())"
        )
    return resolved
