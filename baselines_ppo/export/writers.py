"""A trained policy for other programs: a SavedModel, which TensorFlow alone loads and serves, or a LiteRT file for phones and C++.

`python -m baselines_ppo.export RUN OUT` on the command line, `export_saved_model` and `export_litert` in Python.
"""

import re
import tempfile

from baselines_ppo.cli.errors import run_command
from baselines_ppo.cli.options import Parser, path_arg
from baselines_ppo.export.targets import OTHER_PLACE, require_vacant
from common.errors import UserError
from common.runtime.cpu import usable_cpu_count
from common.runtime.tf_import import import_tensorflow, stderr_on_error_only
from common.storage.atomic import atomic_directory, atomic_write
from common.storage.write_errors import user_error_on_os_error

PROG = "python -m baselines_ppo.export"


def export_saved_model(pi, folder):
    """Write a policy as a SavedModel with the signatures `act` and `sample`; docs/export.md says what they take and give.

    Args:
        pi: a `Policy`.
        folder: where; its parents are made. It appears when it is whole.

    Returns:
        The folder, an absolute Path.

    Raises:
        UserError: if there is something at `folder`, it cannot be written, or the policy's `prepare` is not to be had in TensorFlow.
    """
    folder = require_vacant(folder, folder=True)
    save = saver(pi)
    with user_error_on_os_error(folder, OTHER_PLACE), atomic_directory(folder) as temporary:
        save(temporary)
    return folder


def export_litert(pi, path):
    """Write a policy as one LiteRT (TensorFlow Lite) file with the signatures `act` and `sample`, for one observation at a time, in float32.

    Args:
        pi: a `Policy` whose observations are a Box of floats or uint8.
        path: where; its parents are made. The file appears when it is whole.

    Returns:
        The file, an absolute Path.

    Raises:
        UserError: if there is something at `path`, it cannot be written, or LiteRT cannot compute the policy.
    """
    path = require_vacant(path, folder=False)
    data = convert_to_tflite(saver(pi, batch=1, single=True), type(pi).__name__)
    with user_error_on_os_error(path, OTHER_PLACE):
        atomic_write(path, data)
    return path


def saver(pi, **kwargs):
    """A function that writes the SavedModel of `policy_functions(pi, **kwargs)` into a folder. The policy has been checked and traced then."""
    import tensorflow as tf

    from baselines_ppo.export.graph import policy_functions

    module, functions = policy_functions(pi, **kwargs)

    def save(folder):
        with stderr_on_error_only():
            tf.saved_model.save(module, str(folder), signatures=functions | {"serving_default": functions["act"]})

    return save


def convert_to_tflite(save, name):
    """The bytes of a LiteRT file, of the SavedModel that `save` writes.

    Raises:
        UserError: if LiteRT lacks an operation that the policy `name` needs.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        save(folder)
        try:
            with stderr_on_error_only():
                return tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["act", "sample"]).convert()
        except Exception as error:
            ops = re.search(r"(?:Flex|Custom) ops: *(.+)", str(error))
            if ops is None:
                raise
            raise UserError(
                f"{name} computes {ops[1].strip()}, for which LiteRT has no kernel; export a SavedModel"
            ) from error


# ---- the command line


def loading_snippet(pi, path, form):
    """Three lines of Python that load an exported policy and act once."""
    from baselines_ppo.export.graph import observation_specs

    lite = form == "tflite"
    call = ", ".join(
        f'{name}={"numpy" if lite else "tf"}.zeros({spec.shape.as_list()}, "{spec.dtype.name}")'
        for name, spec in observation_specs(pi, batch=1, single=lite).items()
    )
    output = "env_action" if hasattr(pi.ac_space, "low") else "action"
    if lite:
        return (
            "import numpy, tensorflow as tf\n"
            f'act = tf.lite.Interpreter({str(path)!r}).get_signature_runner("act")\nprint(act({call})["{output}"])'
        )
    return f'import tensorflow as tf\nact = tf.saved_model.load({str(path)!r}).signatures["act"]\nprint(act({call})["{output}"])'


def build_parser():
    """The parser of `python -m baselines_ppo.export`."""
    parser = Parser(prog=PROG, description="Write a trained policy for programs that do not have this package.")
    parser.add_argument("run", metavar="RUN", type=path_arg, help="a run folder, a checkpoint, a policy folder or file")
    parser.add_argument("out", metavar="OUT", type=path_arg, help="what to write; must not exist, or be empty")
    parser.add_argument(
        "--format", choices=("savedmodel", "tflite"), help="default: tflite if OUT ends in .tflite, else savedmodel"
    )
    return parser


def export(argv):
    """The command: load, write, and say what was written and how to load it."""
    args = build_parser().parse_args(argv)
    form = args.format or ("tflite" if args.out.suffix == ".tflite" else "savedmodel")
    from common.policies.locate import find_policy

    file = find_policy(args.run)
    require_vacant(args.out, folder=form == "savedmodel")
    import_tensorflow(threads=usable_cpu_count())
    from baselines_ppo.policy_registry import load_policy

    pi = load_policy(file)
    path = (export_litert if form == "tflite" else export_saved_model)(pi, args.out)
    print(
        f"{file}: wrote its {type(pi).__name__} to {path}, signatures act and sample. To load it:\n{loading_snippet(pi, path, form)}"
    )


def main(argv=None):
    """Returns the exit status; 2 is a mistake in what was asked for."""
    return run_command(lambda: export(argv), PROG)
