"""What the numeric libraries of this process use, and the bits of some results; a process of its own, started by processors.py.

With ONEDNN_VERBOSE=1 oneDNN says what it uses on the standard output, beside this script's own line of JSON. `report` makes one of both.
"""

import hashlib
import json
import os
import platform
import sys

from benchmarks.paths import ROOT

HEAD = "IN FORCE "


def bits(*arrays):
    """A short hash of the arrays' bytes."""
    digest = hashlib.sha256()
    for one in arrays:
        digest.update(memoryview(one).tobytes())
    return digest.hexdigest()[:12]


def of_this_process():
    """Versions, instruction sets and threads by library, and the bits of fixed computations."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the tests have it, before NumPy reads it
    import numpy as np
    import scipy.linalg
    import threadpoolctl

    libraries = [
        one for one in threadpoolctl.threadpool_info() if one["internal_api"] == "openblas"
    ]  # before TensorFlow's import loads others
    import tensorflow as tf

    if os.environ.get("TEST_PERTURB_PRODUCTS"):
        sys.path.insert(0, str(ROOT / "tests" / "support" / "numerics"))
        import perturbed_products

        perturbed_products.install_if_requested()
    rng = np.random.default_rng(0)
    a, b, image, kernel = (
        rng.standard_normal(shape, np.float32) for shape in ((64, 200), (200, 64), (4, 20, 20, 8), (3, 3, 8, 16))
    )

    @tf.function(jit_compile=True)
    def squared_less(x, y):
        return x * x - y

    @tf.function(jit_compile=True)
    def layer(x, w):
        return tf.reduce_sum(tf.tanh(tf.matmul(x, w)), axis=0)

    x = np.float32(
        1 + 2**-12
    )  # its square is 1 + 2**-11 + 2**-24, whose last bit a product rounds away, and a fused multiply-add does not
    fused = float(squared_less(tf.fill([8], x), tf.fill([8], np.float32(1 + 2**-11)))[0]) != 0
    return {
        "versions": {
            "Python": platform.python_version(),
            "NumPy": np.__version__,
            "SciPy": scipy.__version__,
            "TensorFlow": tf.__version__,
        },
        "openblas": sorted({one["architecture"] for one in libraries}),
        "numpy_features": np.show_config(mode="dicts")["SIMD Extensions"].get("found", []),
        "xla": "FMA" if fused else "no FMA",
        "openblas_threads": max((one["num_threads"] for one in libraries), default=1),
        "perturbed": os.environ.get("TEST_PERTURB_PRODUCTS"),
        "bits": {
            "NumPy's products": bits(a @ b),
            "NumPy's functions": bits(np.exp(a), np.tanh(a), np.log(abs(a))),
            "TensorFlow's products": bits(tf.matmul(a, b).numpy()),
            "TensorFlow's convolutions": bits(tf.nn.conv2d(image, kernel, 2, "SAME").numpy()),
            "XLA": bits(layer(a, b).numpy(), layer(a[:1], b).numpy()),
        },
    }


def report(output):
    """The dictionary that this script's standard output amounts to."""
    lines = output.splitlines()
    found = json.loads(next(line for line in lines if line.startswith(HEAD)).removeprefix(HEAD))
    said = [line.split(",") for line in lines if line.startswith("onednn_verbose")]
    about = {
        key: value for words in said if "cpu" in words for key, _, value in (word.partition(":") for word in words)
    }
    return found | {
        "onednn": about.get("isa"),
        "tensorflow_threads": int(about.get("nthr", 1)),
        "onednn_operations": any("exec" in words and "convolution" in words for words in said),
    }


def described(found, own=None):
    """`report`'s dictionary in a line.

    Args:
        own: that of this machine as it is, to tell which results have other bits than there; None if `found` is that.
    """
    parts = [
        f"OpenBLAS {' and '.join(found['openblas']) or 'not used'}",
        f"NumPy {' '.join(found['numpy_features']) or 'its baseline'}",
        f"XLA with {found['xla']}",
        f"oneDNN {found['onednn']}{'' if found['onednn_operations'] else ', its operations off'}",
        f"threads: OpenBLAS {found['openblas_threads']}, TensorFlow {found['tensorflow_threads']}",
    ]
    if found["perturbed"]:
        parts.append(f"products off by an ulp, seed {found['perturbed']}")
    if own is not None:
        other = [name for name, value in found["bits"].items() if value != own["bits"][name]]
        parts.append(f"other bits than this machine's own: {', '.join(other) or 'none of those compared'}")
    if own is None or found["versions"] != own["versions"]:
        parts.insert(0, ", ".join(" ".join(pair) for pair in found["versions"].items()))
    return "; ".join(parts)


if __name__ == "__main__":
    print(HEAD + json.dumps(of_this_process()), flush=True)
