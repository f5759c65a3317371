"""Writes a trained policy for other programs: a SavedModel for TensorFlow, or a LiteRT file for phones and C++."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from baselines_ppo.export.graph import EPISODE_START, observation_specs, policy_functions
from baselines_ppo.export.observations import flatten_space
from baselines_ppo.export.targets import PATH_HINT, require_vacant
from baselines_ppo.policy_registry import load_policy
from common.envs.mask_layout import ACTION_MASK
from common.errors import UserError
from common.policies.base import Policy
from common.runtime.tf_import import stderr_on_error_only
from common.space_tree import Space, is_composite, is_continuous
from common.storage.atomic import atomic_directory, atomic_write
from common.storage.write_errors import user_error_on_os_error

ONES = (ACTION_MASK, EPISODE_START)  # inputs that are true in the printed lines: all actions are valid
UserPath = str | bytes | os.PathLike[str]


def export_saved_model(pi: Policy, folder: UserPath) -> Path:
    """Write a policy as a SavedModel with the signatures `act` and `sample`.

    docs/tutorials/deploy.md describes their inputs and outputs.

    Args:
        pi: the policy.
        folder: the directory to write, atomically; its parents are created.

    Returns:
        The directory, an absolute path.

    Raises:
        UserError: if something exists at `folder`, it cannot be written, or the policy's `prepare` does not work in
            TensorFlow.
    """
    target = require_vacant(folder, is_directory=True)
    save = make_saver(pi)
    with user_error_on_os_error(target, PATH_HINT), atomic_directory(target) as temporary:
        save(temporary)
    return target


def export_litert(pi: Policy, path: UserPath) -> Path:
    """Write a policy as one LiteRT (TensorFlow Lite) file with the signatures `act` and `sample`, for one observation,
    in float32.

    Args:
        pi: a policy whose observations are a Box of floats or uint8.
        path: the file to write, atomically; its parents are created.

    Returns:
        The file, an absolute path.

    Raises:
        UserError: if something exists at `path`, it cannot be written, or LiteRT cannot compute the policy.
    """
    target = require_vacant(path, is_directory=False)
    data = convert_to_tflite(make_saver(pi, batch=1, float32_only=True), type(pi).__name__)
    with user_error_on_os_error(target, PATH_HINT):
        atomic_write(target, data)
    return target


def export_file(file: Path, out: UserPath, output_format: str) -> str:
    """Load a policy file and export it.

    Args:
        file: the policy file.
        out: the directory or file to write.
        output_format: 'savedmodel' or 'tflite'.

    Returns:
        A text that reports what was written and how to load it.
    """
    pi = load_policy(file)
    is_tflite = output_format == "tflite"
    path = export_litert(pi, out) if is_tflite else export_saved_model(pi, out)
    return (
        f"exported the {type(pi).__name__} in {file} to {path}, with the signatures act and sample. To load it:\n"
        f"{loading_snippet(pi, path, is_tflite)}"
    )


def make_saver(pi: Policy, batch: int | None = None, float32_only: bool = False) -> Callable[[str | Path], None]:
    """Check and trace a policy, and return a function that writes its SavedModel into a directory.

    Args:
        pi: the policy.
        batch: as in `policy_functions`.
        float32_only: as in `policy_functions`.
    """
    module, functions = policy_functions(pi, batch, float32_only)

    def save(directory: str | Path) -> None:
        signatures = functions | {"serving_default": functions["act"]}
        with stderr_on_error_only():
            tf.saved_model.save(module, str(directory), signatures=signatures)

    return save


def convert_to_tflite(save: Callable[[str | Path], None], class_name: str) -> bytes:
    """Convert the SavedModel that `save` writes to the bytes of a LiteRT file.

    Args:
        save: as `make_saver` returns it.
        class_name: the policy's class, for errors.

    Raises:
        UserError: if LiteRT lacks an operation that the policy needs.
    """
    with tempfile.TemporaryDirectory() as directory:
        save(directory)
        try:
            with stderr_on_error_only():
                converter = tf.lite.TFLiteConverter.from_saved_model(directory, signature_keys=["act", "sample"])
                data: bytes = converter.convert()
                return data
        except Exception as error:
            ops = re.search(r"(?:Flex|Custom) ops: *(.+)", str(error))
            if ops is None:
                raise
            raise UserError(
                f"{class_name} computes {ops[1].strip()}, for which LiteRT has no kernel; export a SavedModel"
            ) from error


def example_text(name: str, spec: tf.TensorSpec, leaf: Space | None, is_tflite: bool) -> str:
    """Return Python for an example of an exported policy's input, in NumPy for LiteRT, else in TensorFlow.

    Args:
        name: of the input.
        spec: its shape and dtype.
        leaf: its part of the observation space; None for other inputs.
        is_tflite: whether the policy is a LiteRT file.
    """
    library, dtype = "numpy" if is_tflite else "tf", spec.dtype.name
    first = np.asarray(getattr(leaf, "start", 0))  # of choices, which need not begin at 0
    if first.any():
        return f'{library}.{"array" if is_tflite else "constant"}({[first.tolist()]}, "{dtype}")'
    return f'{library}.{"ones" if name in ONES else "zeros"}({spec.shape.as_list()}, "{dtype}")'


def loading_snippet(pi: Policy, path: Path, is_tflite: bool) -> str:
    """Return two or three lines of Python that load an exported policy and act once."""
    specs, leaves = observation_specs(pi, batch=1, float32_only=is_tflite), flatten_space(pi.network_space)
    arguments = ", ".join(f"{name}={example_text(name, x, leaves.get(name), is_tflite)}" for name, x in specs.items())
    output = "env_action" if is_continuous(pi.ac_space) else "action"
    chosen = "" if is_composite(pi.ac_space) else f'["{output}"]'
    if is_tflite:
        imports = "import numpy, tensorflow as tf"
        load = f'act = tf.lite.Interpreter({str(path)!r}).get_signature_runner("act")'
    else:
        imports = "import tensorflow as tf"
        load = f'act = tf.saved_model.load({str(path)!r}).signatures["act"]'
    return f"{imports}\n{load}\nprint(act({arguments}){chosen})"
