"""Imports TensorFlow and other heavy libraries: without their start-up messages, and faster.

The messages are printed after all if the import fails.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib.machinery
import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from types import CodeType, ModuleType
from typing import IO, Any

LOG_LEVEL_VARIABLE = "TF_CPP_MIN_LOG_LEVEL"  # read once by TensorFlow
STARTUP_MESSAGE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|To enable the following instructions: |"
    rb"[IWE]\d{4} \d\d:\d\d:\d\d"
)
_warnings_lock = threading.RLock()


@contextlib.contextmanager
def stderr_on_error_only(suppressed: re.Pattern[bytes] | None = None) -> Iterator[None]:
    """Context manager that withholds what is written to file descriptor 2, from C++ too, and prints it on an error.

    Args:
        suppressed: matches the beginning of the lines to drop; other lines, such as another thread's, are printed at
            the end. None drops all.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        original = os.dup(2)
    except OSError:  # closed: nobody reads it
        yield
        return
    with _memory_file() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except KeyboardInterrupt:  # the user knows the reason
            raise
        except BaseException:
            os.dup2(original, 2)
            file.seek(0)
            os.write(2, file.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
        if suppressed is not None:
            file.seek(0)
            os.write(2, b"".join(line for line in file if not suppressed.match(line)))


def _memory_file() -> IO[bytes]:
    """Return an anonymous file in memory, which works when /tmp is full, or a temporary file where there is none."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("stderr"), "w+b")
    return tempfile.TemporaryFile()


@contextlib.contextmanager
def skip_keras_import() -> Iterator[None]:
    """Context manager in which TensorFlow does not import Keras, which this package does not use.

    `tf.keras` still imports it on first use. Measured: TensorFlow imports in 2.2 s of CPU time instead of 2.7 s. A None
    in `sys.modules` makes an import raise ImportError, which TensorFlow takes for "not installed". Not for a user's
    process, whose other threads may import Keras at the same time.
    """
    skipped = "keras" not in sys.modules
    if skipped:
        sys.modules["keras"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if skipped:
            del sys.modules["keras"]


@contextlib.contextmanager
def keras_version_known() -> Iterator[None]:
    """Context manager in which TensorFlow Probability does not import Keras 3 only to ask for its version.

    With Keras 3 it uses the package tf_keras. TensorFlow's lazy module `tf.keras` gets the attribute `version` for the
    time of the import. Measured on an AMD EPYC: 0.7 s of CPU time instead
    of 1.4 s.
    """
    import tensorflow.compat.v2 as tf

    attributes = vars(tf.keras)
    is_unused = attributes.get("_tfll_initialized") is False
    if is_unused:
        attributes["version"] = lambda: "3."
    try:
        yield
    finally:
        if is_unused:
            attributes.pop("version", None)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Context manager that ignores a library's warnings, whatever filters the user has set.

    A filter that turns warnings into errors would leave a library partly imported. One thread at a time, because
    filters belong to the process.
    """
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class DocstringLoader(importlib.machinery.SourceFileLoader):
    """Compiles a module with its docstrings under `python -OO`, too. Not cached: Python's cache has no docstrings."""

    def get_code(self, fullname: str) -> CodeType:
        """Compile the source of the module `fullname` without optimization; neither read nor write cached bytecode."""
        return compile(self.get_data(self.path), self.path, "exec", dont_inherit=True, optimize=0)


class DocstringFinder:
    """An entry of `sys.meta_path` that loads the modules of some packages by `DocstringLoader`.

    Args:
        packages: the packages' names.
    """

    def __init__(self, *packages: str):
        self.packages = packages

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the module's spec; None for a module of another package."""
        if name.partition(".")[0] not in self.packages:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = DocstringLoader(spec.loader.name, spec.loader.path)
        return spec


@contextlib.contextmanager
def with_docstrings(*packages: str) -> Iterator[None]:
    """Context manager for importing packages that edit their own docstrings, which fails under `python -OO`."""
    if sys.flags.optimize < 2:
        yield
        return
    finder = DocstringFinder(*packages)
    # new lists: another thread may be iterating over the old one
    sys.meta_path = [finder, *sys.meta_path]
    try:
        yield
    finally:
        sys.meta_path = [other for other in sys.meta_path if other is not finder]


@functools.cache
def import_tfd() -> Any:
    """Import `tensorflow_probability.distributions`: a second and 60 MB that Gaussian policies save."""
    with without_warnings(), with_docstrings("tensorflow_probability", "tf_keras"), keras_version_known():
        import tensorflow_probability as tfp

        dir(tfp.distributions)  # loads the lazy module now, in this thread
    return tfp.distributions


def freeze_gc_at_exit() -> None:
    """Exclude all objects from the final garbage collection, unless ALE is loaded: it warns about leaked objects."""
    if "ale_py" in sys.modules:
        gc.unfreeze()
    else:
        gc.freeze()


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Context manager that disables garbage collection during an import and freezes the objects it created.

    They are about a million, none of them garbage. Measured: TensorFlow imports in 3.2 s instead of 3.7 to 4.2 s; the
    final collection takes 0.1 s instead of 1.1 s.
    """
    enabled = gc.isenabled()
    gc.disable()
    atexit.register(freeze_gc_at_exit)
    try:
        yield
        gc.freeze()
    finally:
        if enabled:
            gc.enable()


def import_tensorflow_quietly() -> None:
    """Import TensorFlow into a user's process without its start-up messages, unless it is imported already.

    Changes nothing else in the process. If `TF_CPP_MIN_LOG_LEVEL` is set, it decides what is printed. With "3", the
    messages are hidden that TensorFlow prints at every level.
    """
    level = os.environ.get(LOG_LEVEL_VARIABLE)
    with without_warnings():
        if "tensorflow" in sys.modules or level not in (None, "3"):
            return
        os.environ[LOG_LEVEL_VARIABLE] = "3"
        try:
            with stderr_on_error_only(STARTUP_MESSAGE):
                import tensorflow  # noqa: F401
        finally:
            if level is None:
                del os.environ[LOG_LEVEL_VARIABLE]


def import_tensorflow(threads: int, onednn: bool = False, operations: int = 1) -> Any:
    """Import TensorFlow with a number of threads and without its start-up messages.

    Must be called before anything else imports TensorFlow.

    Args:
        threads: for one operation.
        onednn: for convolutions. TensorFlow disables it on CPUs without AVX-512, where it makes their gradient 1.8
            times as fast.
        operations: number of operations that may run in parallel.
    """
    if onednn:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault(LOG_LEVEL_VARIABLE, "3")
    # several ranks may share a GPU, of which the first would otherwise reserve all memory
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(operations))
    with stderr_on_error_only(), skip_keras_import(), gc_paused():
        import tensorflow as tf

        tf.constant(0.0)
    return tf
