"""Baselines' `tf_util`, as much of it as callbacks use: saving variables, and loading them. Files are safetensors: loading one runs no code.

    from common import tf_util as U

There is no session. What one would be asked for is given by name, or, inside a callback, is the training's policy.
"""

import contextlib
import contextvars

from common.errors import UserError
from common.storage.array_files import check_arrays, load_arrays, save_arrays
from common.storage.paths import file_path, user_path
from common.storage.write_errors import raises_write_error

FORMAT = "baselines_ppo.variables"
_OF_THE_CALLBACK = contextvars.ContextVar("the variables of the training whose callback is being called", default=None)


def save_variables(save_path, variables=None, sess=None):
    """Write variables to a file, whose folder is made.

    Args:
        save_path: the file.
        variables: `pi.get_variables()`, which bring the observation filter, and make a policy's file that `load_policy` reads too; or any list of
            `tf.Variable`. None, inside a callback: those of the training's pi.
        sess: not looked at.

    Raises:
        UserError: if there is nobody to tell which variables, or `save_path` is none of a file.
        WriteError: if the system refuses.
    """
    variables = _given(variables, "save_variables", "pi.save(path)")
    if hasattr(variables, "policy"):
        variables.policy.save(save_path)
    else:
        with raises_write_error(save_path):
            path = file_path(save_path, "save_path")
        save_arrays(path, {name: v.numpy() for name, v in by_name(variables).items()}, {"format": FORMAT})


def load_variables(load_path, variables=None, sess=None):
    """Give variables the values of a file that `save_variables` or `save_state` wrote of such. Arguments as there.

    Raises:
        UserError: if there is none, it is damaged, or it holds others.
    """
    variables, path = _given(variables, "load_variables", "pi = load_policy(path)"), user_path(load_path, "load_path")
    if hasattr(variables, "policy"):
        variables.policy.restore_from(path)
        return
    arrays, named = load_arrays(path, FORMAT)[0], by_name(variables)
    check_arrays(path, arrays, {name: v.numpy() for name, v in named.items()})
    for name, v in named.items():
        v.assign(arrays[name])


def save_state(fname, sess=None):
    """In a callback: write the training's policy, as `save_variables` does. Elsewhere: UserError, with the line to write instead."""
    save_variables(fname, _given(None, "save_state", "pi.save(path)"))


def load_state(fname, sess=None):
    """In a callback: take over a policy that was saved, as `load_variables` does. Elsewhere: UserError, with the line to write instead."""
    load_variables(fname, _given(None, "load_state", "pi = load_policy(path)"))


def __getattr__(name):
    raise AttributeError(
        f"common.tf_util has no {name}, as there is no session: leave it out, or see docs/migration.md; it has save_variables, "
        "load_variables, save_state and load_state"
    )


def by_name(variables):
    """{name: variable}; the place in the list is a part of the name, which alone need not be unique."""
    return {f"{i:03d}/{v.name.split(':')[0]}": v for i, v in enumerate(variables)}


@contextlib.contextmanager
def standing_for_all(variables):
    """A block in which these are the variables that a session would have: a callback's."""
    token = _OF_THE_CALLBACK.set(variables)
    try:
        yield
    finally:
        _OF_THE_CALLBACK.reset(token)


def _given(variables, function, instead):
    variables = variables or _OF_THE_CALLBACK.get()
    if not variables:
        raise UserError(
            f"{function}: there is no session that could tell which variables are meant; write {instead}, or "
            f"U.{function.replace('state', 'variables')}(path, variables=pi.get_variables())"
        )
    return variables
