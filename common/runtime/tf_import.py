"""Keeping the start-up chatter of libraries off the user's screen, without losing what they say when they fail."""

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

_importing = threading.RLock()
CHATTER = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|To enable the following instructions: |[IWE]\d{4} \d\d:\d\d:\d\d"
)
CHATTER_FROM = "TF_CPP_MIN_LOG_LEVEL"  # which TensorFlow reads once


@contextlib.contextmanager
def stderr_on_error_only(chatter=None):
    """Hold back what is written to file descriptor 2, from C++ too; print it after all if the body raises.

    Args:
        chatter: what begins the lines to hold back, where others, such as another thread's, are printed in the end; None for all.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # it is closed: there is nobody to hear
        yield
        return
    with (
        os.fdopen(os.memfd_create("stderr"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile() as file
    ):  # where /tmp is full, too
        os.dup2(file.fileno(), 2)
        try:
            yield
        except KeyboardInterrupt:  # for which there is no reason to be told
            raise
        except BaseException:
            os.dup2(kept, 2)
            file.seek(0)
            os.write(2, file.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        if chatter is not None:
            file.seek(0)
            os.write(2, b"".join(line for line in file if not chatter.match(line)))


@contextlib.contextmanager
def skip_keras_import():
    """Let TensorFlow leave Keras out, a fifth of its import: nothing here needs it. `tf.keras` still loads it when it is first used."""
    ours = "keras" not in sys.modules
    if ours:
        sys.modules["keras"] = None  # importing it raises ImportError, which TensorFlow takes for "not installed"
    try:
        yield
    finally:
        if ours:
            del sys.modules["keras"]


@contextlib.contextmanager
def without_warnings():
    """A block in which a library's warnings do not come before the user's filters: an error made of one would leave a library half imported. One thread
    at a time, for the filters are the whole process's."""
    with _importing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class DocstringLoader(importlib.machinery.SourceFileLoader):
    """Compiles a module with its docstrings, also where Python runs with -OO; nothing is cached, for Python's own cache has none."""

    def get_code(self, fullname):
        return compile(self.get_data(self.path), self.path, "exec", dont_inherit=True, optimize=0)


class DocstringFinder:
    """Finds the modules of packages, for `DocstringLoader`. It goes onto `sys.meta_path`.

    Args:
        packages: their names.
    """

    def __init__(self, *packages):
        self.packages = packages

    def find_spec(self, name, path=None, target=None):
        """The module's spec; None for one of another package."""
        if name.partition(".")[0] not in self.packages:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = DocstringLoader(spec.loader.name, spec.loader.path)
        return spec


@contextlib.contextmanager
def with_docstrings(*packages):
    """A block in which packages that edit their docstrings while they are imported have them, also under `python -OO`."""
    if sys.flags.optimize < 2:
        yield
        return
    finder = DocstringFinder(*packages)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@functools.cache
def import_tfd():
    """`tensorflow_probability.distributions`, whole: a second or two and 60 MB that Gaussian policies never need. In the thread that asks; what
    the first threads of a process may ask at once is imported once."""
    with without_warnings(), with_docstrings("tensorflow_probability", "tf_keras"):
        import tensorflow_probability as tfp

        dir(tfp.distributions)  # it is imported when it is first looked into
    return tfp.distributions


def freeze_gc_at_exit():
    """Keep the garbage collector from the objects that there are; but show it all where ALE is, whose bindings complain of what is never freed."""
    if "ale_py" in sys.modules:
        gc.unfreeze()
    else:
        gc.freeze()


@contextlib.contextmanager
def gc_paused():
    """Hold back the garbage collector while a library is imported, and let it never look at what the library made: a million objects and no
    garbage. TensorFlow's import takes 3.2 s so, and 3.7 to 4.2 s otherwise. Nor at the end of the process, when there is no use in it: the
    last collection took 1.1 s after a training, 0.1 s so."""
    enabled = gc.isenabled()
    gc.disable()
    atexit.register(freeze_gc_at_exit)
    try:
        yield
        gc.freeze()
    finally:
        if enabled:
            gc.enable()


def import_tensorflow_in_silence():
    """Import TensorFlow into a process of the user's own, where nobody has yet, without its chatter; nothing else of the process is changed. Where
    `TF_CPP_MIN_LOG_LEVEL` is set, it says what it is to say."""
    with without_warnings():
        if "tensorflow" in sys.modules or CHATTER_FROM in os.environ:
            return
        os.environ[CHATTER_FROM] = "3"
        try:
            with stderr_on_error_only(CHATTER):
                import tensorflow  # noqa: F401
        finally:
            del os.environ[CHATTER_FROM]


def import_tensorflow(threads, onednn=False, operations=1):
    """TensorFlow with `threads` threads, without its chatter. Must come before anything else imports it.

    Args:
        threads: for one operation.
        onednn: for convolutions; TensorFlow leaves it off on CPUs without AVX-512, where it makes their gradient 1.8 times as fast.
        operations: that may run side by side.
    """
    if onednn:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault(CHATTER_FROM, "3")
    os.environ.setdefault(
        "TF_FORCE_GPU_ALLOW_GROWTH", "true"
    )  # several ranks may share a card, of which the first would take all memory
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(operations))
    with stderr_on_error_only(), skip_keras_import(), gc_paused():
        import tensorflow as tf

        tf.constant(0.0)
    return tf
