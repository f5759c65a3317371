"""Keeping the start-up chatter of libraries off the user's screen, without losing what they say when they fail."""
import atexit
import contextlib
import gc
import os
import sys
import tempfile


@contextlib.contextmanager
def quiet_stderr():
    """Hold back what is written to file descriptor 2, from C++ too; print it after all if the body raises."""
    sys.stderr.flush()
    kept = os.dup(2)
    with os.fdopen(os.memfd_create("stderr"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile() as file:  # where /tmp is full, too
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


@contextlib.contextmanager
def without_keras():
    """Let TensorFlow leave Keras out, a fifth of its import: nothing here needs it. `tf.keras` still loads it when it is first used."""
    ours = "keras" not in sys.modules
    if ours:
        sys.modules["keras"] = None  # importing it raises ImportError, which TensorFlow takes for "not installed"
    try:
        yield
    finally:
        if ours:
            del sys.modules["keras"]


def leave_uncollected():
    """Keep the garbage collector from the objects that there are; but show it all where ALE is, whose bindings complain of what is never freed."""
    if "ale_py" in sys.modules:
        gc.unfreeze()
    else:
        gc.freeze()


@contextlib.contextmanager
def without_collecting():
    """Hold back the garbage collector while a library is imported, and let it never look at what the library made: a million objects and no
    garbage. TensorFlow's import takes 3.2 s so, and 3.7 to 4.2 s otherwise. Nor at the end of the process, when there is no use in it: the
    last collection took 1.1 s after a training, 0.1 s so."""
    enabled = gc.isenabled()
    gc.disable()
    atexit.register(leave_uncollected)
    try:
        yield
        gc.freeze()
    finally:
        if enabled:
            gc.enable()


def allowed_cores():
    """The numbers of the cores that this process may run on, in order."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def available_cores():
    """How many cores this process may run on."""
    return len(allowed_cores())


def import_tensorflow(threads, onednn=False, operations=1):
    """TensorFlow with `threads` threads, without its chatter. Must come before anything else imports it.

    Args:
        threads: for one operation.
        onednn: for convolutions; TensorFlow leaves it off on CPUs without AVX-512, where it makes their gradient 1.8 times as fast.
        operations: that may run side by side.
    """
    if onednn:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # several ranks may share a card, of which the first would take all memory
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(operations))
    with quiet_stderr(), without_keras(), without_collecting():
        import tensorflow as tf
        tf.constant(0.0)
    return tf
