"""Configuration of the numeric libraries of a process: versions, instruction sets, threads and checksums of fixed computations.

Started by processors.py. With ONEDNN_VERBOSE=1 oneDNN prints its configuration to standard output, next to this script's JSON line;
`parse_output` combines both.
"""

import hashlib
import json
import os
import platform
import sys
from typing import Any

from benchmarks.paths import ROOT

PREFIX = "LIBRARIES "  # of the line with JSON


def checksum(*arrays) -> str:
    """A short hash of the bytes of the arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(memoryview(array).tobytes())
    return digest.hexdigest()[:12]


def inspect_process() -> dict[str, Any]:
    """Versions, instruction sets and threads of each library, and checksums of fixed computations."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in the tests; NumPy reads it when it is imported
    import numpy as np
    import scipy.linalg
    import threadpoolctl

    # before TensorFlow's import, which loads other libraries
    libraries = [one for one in threadpoolctl.threadpool_info() if one["internal_api"] == "openblas"]
    import tensorflow as tf

    if os.environ.get("TEST_PERTURB_PRODUCTS"):
        sys.path.insert(0, str(ROOT / "tests" / "support" / "numerics"))
        import perturbed_products

        perturbed_products.install_if_requested()
    return {
        "versions": {
            "Python": platform.python_version(),
            "NumPy": np.__version__,
            "SciPy": scipy.__version__,
            "TensorFlow": tf.__version__,
        },
        "openblas": sorted({one["architecture"] for one in libraries}),
        "numpy_features": np.show_config(mode="dicts")["SIMD Extensions"].get("found", []),
        "xla": "FMA" if xla_fuses_multiply_add() else "no FMA",
        "openblas_threads": max((one["num_threads"] for one in libraries), default=1),
        "perturbed": os.environ.get("TEST_PERTURB_PRODUCTS"),
        "bits": checksums(),
    }


def xla_fuses_multiply_add() -> bool:
    """Whether XLA computes x * x - y with a fused multiply-add."""
    import numpy as np
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def squared_minus(x, y):
        return x * x - y

    # x squared is 1 + 2**-11 + 2**-24; a float32 product rounds the last bit away, a fused multiply-add does not
    x = np.float32(1 + 2**-12)
    return float(squared_minus(tf.fill([8], x), tf.fill([8], np.float32(1 + 2**-11)))[0]) != 0


def checksums() -> dict[str, str]:
    """{computation: checksum of its results}."""
    import numpy as np
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def layer(x, w):
        return tf.reduce_sum(tf.tanh(tf.matmul(x, w)), axis=0)

    rng = np.random.default_rng(0)
    shapes = (64, 200), (200, 64), (4, 20, 20, 8), (3, 3, 8, 16)
    a, b, image, kernel = (rng.standard_normal(shape, np.float32) for shape in shapes)
    return {
        "NumPy's products": checksum(a @ b),
        "NumPy's functions": checksum(np.exp(a), np.tanh(a), np.log(abs(a))),
        "TensorFlow's products": checksum(tf.matmul(a, b).numpy()),
        "TensorFlow's convolutions": checksum(tf.nn.conv2d(image, kernel, 2, "SAME").numpy()),
        "XLA": checksum(layer(a, b).numpy(), layer(a[:1], b).numpy()),
    }


def parse_output(output: str) -> dict[str, Any]:
    """Combine the JSON line of this script with oneDNN's messages on its standard output."""
    lines = output.splitlines()
    found = json.loads(next(line for line in lines if line.startswith(PREFIX)).removeprefix(PREFIX))
    messages = [line.split(",") for line in lines if line.startswith("onednn_verbose")]
    cpu = [field.partition(":") for message in messages if "cpu" in message for field in message]
    values = {key: value for key, _, value in cpu}
    uses_onednn = any("exec" in message and "convolution" in message for message in messages)
    return found | {
        "onednn": values.get("isa"),
        "tensorflow_threads": int(values.get("nthr", 1)),
        "onednn_operations": uses_onednn,
    }


def describe(found: dict[str, Any], own: dict[str, Any] | None = None) -> str:
    """The result of `parse_output` on one line.

    Args:
        found: the result.
        own: that of the unmodified machine, to list the computations whose results differ; None if `found` is that.
    """
    parts = [
        f"OpenBLAS {' and '.join(found['openblas']) or 'not used'}",
        f"NumPy {' '.join(found['numpy_features']) or 'baseline'}",
        f"XLA with {found['xla']}",
        f"oneDNN {found['onednn']}{'' if found['onednn_operations'] else ', operations disabled'}",
        f"threads: OpenBLAS {found['openblas_threads']}, TensorFlow {found['tensorflow_threads']}",
    ]
    if found["perturbed"]:
        parts.append(f"products perturbed by one ulp, seed {found['perturbed']}")
    if own is not None:
        different = [name for name, value in found["bits"].items() if value != own["bits"][name]]
        parts.append(f"results that differ from this machine's own: {', '.join(different) or 'none of those compared'}")
    if own is None or found["versions"] != own["versions"]:
        parts.insert(0, ", ".join(" ".join(pair) for pair in found["versions"].items()))
    return "; ".join(parts)


if __name__ == "__main__":
    print(PREFIX + json.dumps(inspect_process()), flush=True)
