"""Compiled functions, shared between trainings in one process that have equal networks, settings and shapes.

TensorFlow keeps each graph that XLA has compiled until the process ends: about 20 MB and two seconds per training. A
function that takes its variables as arguments is compiled once for all trainings that differ in nothing else.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from types import CodeType, ModuleType
from typing import Any

import tensorflow as tf

PACKAGES = ("baselines_ppo", "common")
_functions: dict[Hashable, Callable] = {}  # compiled functions by key
_known_code: dict[tuple[str, str, str], CodeType | float] = {}  # the code of `PACKAGES` when they were traced
_lock = threading.Lock()


@dataclass(frozen=True)
class Shared:
    """What is needed to use one compiled function for several trainings.

    Attributes:
        key: all that determines the graph, except for shapes and the values of variables.
        variables: this training's variables, the first argument of the compiled function.
        over: function (variables) -> the graph function over those variables. It may depend on this training only
            through what `key` contains.
    """

    key: Hashable
    variables: list[tf.Variable]
    over: Callable[[list[tf.Variable]], Callable]

    def then(
        self, key: Hashable, variables: list[tf.Variable], over: Callable[[list[tf.Variable]], Callable]
    ) -> Shared:
        """Extend the key, and replace variables and function."""
        return Shared((self.key, key), variables, over)


class Compiled:
    """A graph function from tensors, or dicts of tensors, to tensors; compiled once for each set of shapes.

    Args:
        graph: the function, over this training's variables.
        xla: compile with XLA.
        shared: how other trainings can use the same compiled function; None: they cannot.
    """

    def __init__(self, graph: Callable, xla: bool = False, shared: Shared | None = None):
        self._concrete: dict[Hashable, Callable] = {}
        # without AutoGraph: rewriting all functions that are called would take longer than XLA's compilation
        if shared is None:
            self._variables = ()
            self._function = tf.function(graph, jit_compile=xla, autograph=False)
            return
        self._variables = (shared.variables,)
        with _lock:
            key = (shared.key, xla)
            if key not in _functions:
                _functions[key] = tf.function(
                    lambda variables, *args: shared.over(variables)(*args), jit_compile=xla, autograph=False
                )
            self._function = _functions[key]

    def __call__(self, *args: Any) -> Any:
        """Call the function; all leaves of `args` must be tensors."""
        return self.concrete(*args)(*self._variables, *args)

    def concrete(self, *args: Any) -> Callable:
        """The concrete function for arguments of these shapes, compiled if needed; it takes the variables first."""
        signature = tuple((x.dtype, *x.shape) for x in tf.nest.flatten(args))
        if signature not in self._concrete:
            self._concrete[signature] = self._function.get_concrete_function(*self._variables, *args)
        return self._concrete[signature]

    def experimental_get_tracing_count(self) -> int:
        """Number of sets of shapes with which this training has called the function."""
        return len(self._concrete)


def forget_edited() -> None:
    """Discard all shared functions if this project's code has changed since they were traced.

    This happens in a notebook that reloads modules: the graphs would still run the old code.
    """
    code = dict(_code_of_packages())
    with _lock:
        if any(code.get(name, old) != old for name, old in _known_code.items()):
            _functions.clear()
        _known_code.clear()
        _known_code.update(code)


def _code_of_packages() -> Iterator[tuple[tuple[str, str, str], CodeType | float]]:
    """Yield ((module, name, member), code or number) of this project's functions, methods and numeric constants."""
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] not in PACKAGES or not isinstance(module, ModuleType):
            continue
        for name, value in list(vars(module).items()):
            members = vars(value).items() if isinstance(value, type) else [("", value)]
            for member_name, member in list(members):
                member = getattr(member, "__func__", member)
                code = member if isinstance(member, (int, float)) else getattr(member, "__code__", None)
                if code is not None:
                    yield (module_name, name, member_name), code
