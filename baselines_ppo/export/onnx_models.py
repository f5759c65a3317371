"""ONNX models of a policy: converted by tf2onnx, and compared with TensorFlow in ONNX Runtime.

An ONNX model is one function, so each signature becomes a model. The libraries are those of the extra `onnx`, and are
imported inside functions, because the other formats do not need them.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from baselines_ppo import __version__
from baselines_ppo.export.graph import NOISE, policy_functions, signature_specs
from baselines_ppo.export.verification import example_inputs, largest_difference
from common.errors import UserError
from common.formatting import truncate
from common.policies.base import Policy
from common.policies.space_serialization import to_json
from common.runtime.cpu import usable_cpu_count
from common.runtime.tf_import import stderr_on_error_only

OPSET = 15  # the default of tf2onnx; ONNX Runtime 1.10 and later versions run it
BATCH = "N"  # name of the batch axis
NEXT = "next_"  # before the name of an output that an input has, too: in ONNX, names are unique
COMPARED_ROWS, COMPARED_BATCHES = 100, 10
TOLERANCE = 1e-4  # of 1 + the largest entry; rounding in a large network is below, a wrong operation above
ERRORS_ONLY = 3  # of ONNX Runtime's log


def onnx_models(pi: Policy, environment: Mapping[str, Any] | None = None) -> dict[str, bytes]:
    """Convert a policy to one ONNX model per signature, and compare each with TensorFlow on 1,000 observations.

    Args:
        pi: the policy.
        environment: what a policy file records about the environment, for the models' metadata.

    Returns:
        {"act": model, "sample": model}, as the bytes of files.

    Raises:
        UserError: if the policy's `prepare` does not work in TensorFlow, the network has an operation that ONNX lacks,
            or ONNX Runtime computes something else.
    """
    module, functions = policy_functions(pi)  # the module keeps the variables
    name, properties = type(pi).__name__, model_properties(pi, environment or {})
    models: dict[str, bytes] = {}
    for signature, specs in signature_specs(pi).items():
        models[signature] = convert(functions[signature], specs, name, properties | {"signature": signature})
        compare_with_tensorflow(pi, models[signature], functions[signature], with_noise=NOISE in specs)
    del module
    return models


def model_properties(pi: Policy, environment: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata of the models: the policy's class and spaces, the environment if known, and the version."""
    described: dict[str, Any] = {
        "observation_space": to_json(pi.ob_space),
        "action_space": to_json(pi.ac_space),
        **environment,
    }
    texts = {key: x if isinstance(x, str) else json.dumps(x) for key, x in described.items()}
    return {"baselines_ppo": __version__, "policy": type(pi).__name__} | texts


def convert(function: Any, specs: Mapping[str, tf.TensorSpec], class_name: str, properties: Mapping[str, str]) -> bytes:
    """Convert a concrete function to an ONNX model with the same names of inputs and outputs.

    The output `state` becomes `next_state`, because an input has that name.

    Args:
        function: takes tensors by name, and returns a dictionary.
        specs: {name: TensorSpec} of its inputs.
        class_name: the policy's class, for errors.
        properties: the metadata.

    Returns:
        The bytes of a file.

    Raises:
        UserError: if the function has an operation that ONNX lacks.
    """
    import onnx

    def graph(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = function(**dict(zip(specs, tensors)))
        return {output_name(name, specs): x for name, x in outputs.items()}

    signature = [tf.TensorSpec(x.shape, x.dtype, name=name) for name, x in specs.items()]
    with stderr_on_error_only():
        import tf2onnx

        model = tf2onnx.convert.from_function(tf.function(graph, autograph=False), signature, opset=OPSET)[0]
    # the converter leaves an operation that it does not know in the graph
    domains = {x.domain: x.version for x in model.opset_import}
    unknown = {x.op_type for x in model.graph.node if not onnx.defs.has(x.op_type, domains.get(x.domain, 0), x.domain)}
    if unknown:
        raise UserError(f"{class_name} computes {', '.join(sorted(unknown))}, which ONNX lacks; export a SavedModel")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    onnx.helper.set_model_props(model, dict(properties))
    data: bytes = model.SerializeToString()
    return data


def output_name(name: str, inputs: Container[str]) -> str:
    """Return the name of an output of an ONNX model with these inputs."""
    return NEXT + name if name in inputs else name


def compare_with_tensorflow(pi: Policy, model: bytes, function: Any, with_noise: bool) -> None:
    """Raise UserError unless ONNX Runtime runs a model and computes what the function does that it was converted from.

    Args:
        pi: the policy, whose observations are drawn.
        model: the bytes of the ONNX model.
        function: the concrete function.
        with_noise: whether it takes noise.
    """
    rng = np.random.default_rng(0)
    class_name = type(pi).__name__
    try:
        session = open_session(model)
        names = [output.name for output in session.get_outputs()]
        for _ in range(COMPARED_BATCHES):
            inputs = example_inputs(pi, COMPARED_ROWS, rng, with_noise)
            found = dict(zip(names, session.run(names, inputs)))
            expected = function(**{name: tf.constant(x) for name, x in inputs.items()})
            for name, x in expected.items():
                if not largest_difference(found[output_name(name, inputs)], x.numpy()) <= TOLERANCE:
                    raise UserError(
                        f"the output {name} of {class_name} differs between ONNX Runtime and TensorFlow; export a "
                        "SavedModel"
                    )
    except UserError:
        raise
    except Exception as error:  # ONNX Runtime defines many classes
        raise UserError(
            f"ONNX Runtime cannot run this {class_name} ({truncate(str(error))}); export a SavedModel"
        ) from error


def open_session(model: bytes) -> Any:
    """Return an `onnxruntime.InferenceSession` of a model, on the CPUs that this process may use."""
    with stderr_on_error_only():  # it looks for GPUs, and prints what it does not find
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = usable_cpu_count()
        options.log_severity_level = ERRORS_ONLY
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
