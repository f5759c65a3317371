"""`python -m baselines_ppo.report`: writes `report.html` and `curve.png` into a run directory, at any time.

    python -m baselines_ppo.report runs/mine
    python -m baselines_ppo.report runs/mine --film        also records an episode: film.gif

The run may still be training, or may have been killed. Only --film imports TensorFlow.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from baselines_ppo.cli.errors import run_command
from baselines_ppo.cli.options import Parser, path_argument
from baselines_ppo.report.page import write_report
from common.errors import UserError
from common.runs.results import PROGRESS, RunResults
from common.runtime.cpu import usable_cpu_count
from common.runtime.tf_import import import_tensorflow
from common.storage.paths import writable_file

PROG = "baselines_ppo.report"


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(prog=f"python -m {PROG}", description="Write curve.png and report.html into a run directory.")
    parser.add_argument("run", metavar="RUN", type=path_argument, help="the run directory; the run may be training")
    parser.add_argument(
        "--film",
        action="store_true",
        help="also record a video of one episode of its policy: film.gif, for the page and TensorBoard [default: off]",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status, 2 for invalid arguments."""
    return run_command(lambda: report(argv), PROG)


def report(argv: Sequence[str] | None) -> None:
    """Write the report of a run."""
    args = build_parser().parse_args(argv)
    run = RunResults(args.run)
    if not args.run.is_dir() or not (run.config or run.monitors or run.progress):
        raise UserError(f"{args.run}: no run found; choose a directory with config.json, {PROGRESS} or *.monitor.csv")
    writable_file(args.run / "report.html", "report")
    if args.film:
        import_tensorflow(threads=usable_cpu_count())
        from baselines_ppo.report.video import record_video  # the gate: it imports TensorFlow

        warning = record_video(run)
        if warning:
            print(f"{PROG}: {warning}", file=sys.stderr)
    write_report(run)
