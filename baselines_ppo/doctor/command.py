"""`python -m baselines_ppo.doctor`: checks everything that a training needs, and prints how to repair what is missing.

    python -m baselines_ppo.doctor              one line for each check; paste them into a bug report
    python -m baselines_ppo.doctor --json       the same as one JSON object

It takes about half a minute, mostly for imports in child processes. It changes nothing, and needs no other package for
its first lines, so that it works where one is missing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from baselines_ppo.cli.errors import run_command
from baselines_ppo.cli.options import Parser, path_argument
from baselines_ppo.doctor.disk import check_disk
from baselines_ppo.doctor.finding import FIX, NOTE, Finding
from baselines_ppo.doctor.installation import check_packages, check_processor, check_python
from baselines_ppo.doctor.probes import check_environments, check_mpi, check_rendering, check_tensorflow
from baselines_ppo.experiment.metadata import git_commit

FAILED_STATUS = 1


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        prog="python -m baselines_ppo.doctor",
        description="Check this installation: Python, packages, processor, TensorFlow, MPI, environments, rendering "
        "and the disk of the run directories. Each line is ok, or names the repair. The exit status is 1 if training "
        "needs a repair.",
    )
    parser.add_argument(
        "--run-dir",
        type=path_argument,
        metavar="DIR",
        help="the parent of the run directories [default: $BASELINES_PPO_RUNS, or runs]",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object [default: one line for each check]")
    return parser


def findings(runs: Path | None) -> Iterator[Finding]:
    """Run all checks, in the order in which they are printed.

    Args:
        runs: parent of the run directories; None for the default.
    """
    yield Finding("commit", git_commit() or "not in a Git repository")
    yield from check_python()
    packages = list(check_packages())
    yield from packages
    yield from check_processor()
    yield from check_disk(runs)
    if any(one.status == FIX for one in packages):
        yield Finding("further checks", "left out", "repair the packages first")
        return
    yield from check_tensorflow()
    yield from check_mpi()
    yield from check_environments()
    yield from check_rendering()


def diagnose(argv: Sequence[str] | None) -> int:
    """Print the findings; return 1 if a required part needs a repair, otherwise 0."""
    args = make_parser().parse_args(argv)
    found = []
    for finding in findings(args.run_dir):
        found.append(finding)
        if not args.json:
            print(finding, flush=True)
    number = {status: sum(one.status == status for one in found) for status in (FIX, NOTE)}
    if args.json:
        print(json.dumps([asdict(one) | {"status": one.status} for one in found], indent=1))
    else:
        print(f"{len(found)} checks: {number[FIX]} to fix, {number[NOTE]} optional")
    return FAILED_STATUS if number[FIX] else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status, 2 for invalid arguments."""
    return run_command(lambda: diagnose(argv), "baselines_ppo.doctor")


if __name__ == "__main__":
    sys.exit(main())
