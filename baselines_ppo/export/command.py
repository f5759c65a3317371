"""The command `python -m baselines_ppo.export`: writes a trained policy for programs that do not have this package."""

from __future__ import annotations

from collections.abc import Sequence

from baselines_ppo.cli.errors import run_command
from baselines_ppo.cli.options import Parser, path_argument
from baselines_ppo.export.targets import next_version, require_onnx_packages, require_vacant, sample_path
from common.errors import UserError
from common.policies.locate import find_policy
from common.runtime.cpu import usable_cpu_count
from common.runtime.tf_import import import_tensorflow

PROG = "python -m baselines_ppo.export"


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(prog=PROG, description="Write a trained policy for programs that do not have this package.")
    parser.add_argument(
        "run", metavar="RUN", type=path_argument, help="a run or policy directory, a checkpoint, or a policy file"
    )
    parser.add_argument(
        "out", metavar="OUT", type=path_argument, help="the directory or file to write; must not exist, or be empty"
    )
    parser.add_argument(
        "--format",
        choices=("savedmodel", "tflite", "onnx"),
        help="format of the model [default: tflite or onnx if OUT ends in .tflite or .onnx, else savedmodel]",
    )
    parser.add_argument(
        "--serving",
        action="store_true",
        help="write a SavedModel as the next version for TensorFlow Serving, to OUT/1 first, then to OUT/2 "
        "[default: off]",
    )
    return parser


def export(argv: Sequence[str] | None) -> None:
    """Load a policy, write it, and print where it is and how to load it."""
    args = build_parser().parse_args(argv)
    by_suffix = {".tflite": "tflite", ".onnx": "onnx"}.get(args.out.suffix, "savedmodel")
    output_format = args.format or ("savedmodel" if args.serving else by_suffix)
    if args.serving and output_format != "savedmodel":
        raise UserError(f"--serving writes a SavedModel; leave out --format {output_format}")
    if output_format == "onnx":
        require_onnx_packages()
    file = find_policy(args.run)
    out = next_version(args.out) if args.serving else args.out
    # the writers check this too, but only after TensorFlow's import, which takes seconds
    for path in (out, sample_path(out)) if output_format == "onnx" else (out,):
        require_vacant(path, is_directory=output_format == "savedmodel")
    import_tensorflow(threads=usable_cpu_count())
    from baselines_ppo.export.writers import export_file

    print(export_file(file, out, output_format))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return run_command(lambda: export(argv), PROG)
