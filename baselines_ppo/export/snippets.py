"""Lines of Python that load an exported policy, for the output of the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from baselines_ppo.export.graph import EPISODE_START, observation_specs
from baselines_ppo.export.observations import flatten_space
from common.envs.mask_layout import ACTION_MASK
from common.policies.base import Policy
from common.space_tree import Space, is_composite, is_continuous

ONES = (ACTION_MASK, EPISODE_START)  # inputs that are true in the printed lines: all actions are valid


def example_text(name: str, spec: tf.TensorSpec, leaf: Space | None, library: str) -> str:
    """Return Python for an example of an exported policy's input.

    Args:
        name: of the input.
        spec: its shape and dtype.
        leaf: its part of the observation space; None for other inputs.
        library: 'tf' or 'numpy'.
    """
    dtype = spec.dtype.name
    first = np.asarray(getattr(leaf, "start", 0))  # of choices, which need not begin at 0
    if first.any():
        return f'{library}.{"constant" if library == "tf" else "array"}({[first.tolist()]}, "{dtype}")'
    return f'{library}.{"ones" if name in ONES else "zeros"}({spec.shape.as_list()}, "{dtype}")'


def loading_snippet(pi: Policy, path: Path, output_format: str) -> str:
    """Return three lines of Python that load an exported policy and act once.

    Args:
        pi: the policy.
        path: of its export.
        output_format: 'savedmodel', 'tflite' or 'onnx'.
    """
    specs = observation_specs(pi, batch=1, float32_only=output_format == "tflite")
    leaves = flatten_space(pi.network_space)
    library = "tf" if output_format == "savedmodel" else "numpy"
    examples = {name: example_text(name, x, leaves.get(name), library) for name, x in specs.items()}
    output = "env_action" if is_continuous(pi.ac_space) else "action"
    if output_format == "onnx":
        feeds = ", ".join(f'"{name}": {x}' for name, x in examples.items())
        imports = "import numpy, onnxruntime"
        load = f"act = onnxruntime.InferenceSession({str(path)!r})"
        call = f"act.run(None, {{{feeds}}})" if is_composite(pi.ac_space) else f'act.run(["{output}"], {{{feeds}}})[0]'
        return f"{imports}\n{load}\nprint({call})"
    if output_format == "tflite":
        imports = "import numpy, tensorflow as tf"
        load = f'act = tf.lite.Interpreter({str(path)!r}).get_signature_runner("act")'
    else:
        imports = "import tensorflow as tf"
        load = f'act = tf.saved_model.load({str(path)!r}).signatures["act"]'
    chosen = "" if is_composite(pi.ac_space) else f'["{output}"]'
    return f"{imports}\n{load}\nprint(act({', '.join(f'{name}={x}' for name, x in examples.items())}){chosen})"
