"""Compiled functions, which trainings of one process share where their networks, settings and shapes are the same.

TensorFlow keeps every graph that XLA has compiled until the process ends: some 20 MB and two seconds a training. A function that takes its variables
as arguments is compiled once for all trainings that differ in nothing else.
"""

import sys
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import ModuleType

import tensorflow as tf

PACKAGES = ("baselines_ppo", "common")
_functions, _known_code, _lock = {}, {}, threading.Lock()


@dataclass(frozen=True)
class Shared:
    """What it takes to use one compiled function for several trainings.

    Attributes:
        key: everything that decides the graph, apart from shapes and the values of variables.
        variables: those of this training, which are the function's first argument.
        over: function (variables) -> the graph function over those variables instead; it may use nothing else of this training than `key` tells.
    """

    key: Hashable
    variables: list[tf.Variable]
    over: Callable[[list[tf.Variable]], Callable]

    def then(self, key: Hashable, variables: list[tf.Variable], over: Callable) -> "Shared":
        """This with more in the key, and other variables and another function in their place."""
        return Shared((self.key, key), variables, over)


class Compiled:
    """A graph function (tensors or dicts of them) -> tensors, compiled once for each set of shapes.

    Args:
        graph: the function, over this training's variables.
        xla: compile with XLA.
        shared: how other trainings may use the same compiled function; None: they may not.
    """

    def __init__(self, graph: Callable, xla: bool = False, shared: Shared | None = None):
        self._concrete, self._variables = {}, ()
        # without AutoGraph, which would take longer to rewrite all that is called than XLA takes to compile it
        if shared is None:
            self._function = tf.function(graph, jit_compile=xla, autograph=False)
            return
        self._variables = (shared.variables,)
        with _lock:
            key = (shared.key, graph.__qualname__, xla)
            if key not in _functions:
                _functions[key] = tf.function(
                    lambda variables, *args: shared.over(variables)(*args), jit_compile=xla, autograph=False
                )
            self._function = _functions[key]

    def __call__(self, *args):
        """Call it; every leaf of `args` is a tensor."""
        return self.concrete(*args)(*self._variables, *args)

    def concrete(self, *args) -> Callable:
        """The function for arguments of these shapes, compiled if it is not yet. It takes the variables first."""
        signature = tuple((x.dtype, *x.shape) for x in tf.nest.flatten(args))
        if signature not in self._concrete:
            self._concrete[signature] = self._function.get_concrete_function(*self._variables, *args)
        return self._concrete[signature]

    def experimental_get_tracing_count(self) -> int:
        """For how many sets of shapes this training has called it."""
        return len(self._concrete)


def forget_edited() -> None:
    """Forget all shared functions if code of this project has changed since they were traced, as it does in a notebook that reloads modules: their graphs
    would still be of the code before."""
    code = dict(_code_of_packages())
    with _lock:
        if any(code.get(name, old) != old for name, old in _known_code.items()):
            _functions.clear()
        _known_code.clear()
        _known_code.update(code)


def _code_of_packages():
    """Yields (name, code or number) of every function, method and numeric constant of the loaded modules of this project."""
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] not in PACKAGES or not isinstance(module, ModuleType):
            continue
        for name, value in list(vars(module).items()):
            members = vars(value).items() if isinstance(value, type) else [("", value)]
            for member, one in list(members):
                one = getattr(one, "__func__", one)
                found = one if isinstance(one, (int, float)) else getattr(one, "__code__", None)
                if found is not None:
                    yield (module_name, name, member), found
