"""Writes a trained policy for other programs: a SavedModel for TensorFlow, a LiteRT file for phones and C++, or ONNX
models for ONNX Runtime.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from baselines_ppo.export.graph import policy_functions
from baselines_ppo.export.onnx_models import onnx_models
from baselines_ppo.export.snippets import loading_snippet
from baselines_ppo.export.targets import PATH_HINT, require_onnx_packages, require_vacant, sample_path
from baselines_ppo.policy_registry import load_policy
from common.errors import UserError
from common.policies.base import Policy
from common.policies.files import read_policy
from common.runtime.tf_import import stderr_on_error_only
from common.storage.atomic import atomic_directory, atomic_write
from common.storage.write_errors import user_error_on_os_error

ENVIRONMENT = ("env", "env_kwargs")  # what the metadata of ONNX models repeats of a policy file's
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


def export_onnx(pi: Policy, path: UserPath, environment: Mapping[str, Any] | None = None) -> Path:
    """Write a policy as two ONNX models: `act` at `path`, and `sample` next to it, as NAME.sample.onnx for NAME.onnx.

    Their inputs and outputs are those of the signatures of a SavedModel. ONNX Runtime computes 1,000 observations, and
    the results are compared with TensorFlow's.

    Args:
        pi: the policy.
        path: the file to write, atomically; its parents are created.
        environment: what the models' metadata say about the environment, such as {"env": "Pendulum-v1"}.

    Returns:
        The file of `act`, an absolute path.

    Raises:
        UserError: if the extra `onnx` is not installed, something exists at one of the paths, it cannot be written, or
            ONNX cannot compute the policy.
    """
    require_onnx_packages()
    target = require_vacant(path, is_directory=False)
    beside = require_vacant(sample_path(target), is_directory=False)
    models = onnx_models(pi, environment)
    with user_error_on_os_error(target, PATH_HINT):
        atomic_write(beside, models["sample"])  # first, so that both are complete if `act` exists
        atomic_write(target, models["act"])
    return target


def export_file(file: Path, out: UserPath, output_format: str) -> str:
    """Load a policy file and export it.

    Args:
        file: the policy file.
        out: the directory or file to write.
        output_format: 'savedmodel', 'tflite' or 'onnx'.

    Returns:
        A text that reports what was written and how to load it.
    """
    pi = load_policy(file)
    parts = ", with the signatures act and sample"
    if output_format == "onnx":
        metadata = read_policy(file)[1]
        path = export_onnx(pi, out, {key: metadata[key] for key in ENVIRONMENT if key in metadata})
        parts = f", and with sampled actions to {sample_path(path)}"
    elif output_format == "tflite":
        path = export_litert(pi, out)
    else:
        path = export_saved_model(pi, out)
    return (
        f"exported the {type(pi).__name__} in {file} to {path}{parts}. To load it:\n"
        f"{loading_snippet(pi, path, output_format)}"
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
