"""The command line: `python -m baselines_ppo`, `baselines-ppo` and `run.py`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from baselines_ppo.cli.errors import PROGRAM, run_command
from baselines_ppo.cli.parser import parse
from common.runtime.crash_stacks import stacks


def main(argv: Sequence[str] | None = None) -> int:
    """Train or play, as the command line asks; return the exit status.

    Args:
        argv: arguments of the command line; those of this process if None.

    Returns:
        0 for success, 1 for a failed run, 2 for invalid arguments or settings, 128 + n after signal n.
    """
    if argv is None:
        stacks.enable(replace=True)
    # before NumPy is imported: acting multiplies vectors, for which more threads only wait for each other
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return run_command(lambda: _train_or_play(sys.argv[1:] if argv is None else argv), PROGRAM)


def _train_or_play(argv: Sequence[str]) -> int:
    explicit, args = parse(argv)
    # gate: Gymnasium, MPI and TensorFlow are imported below, so that --help is fast
    if args.play or args.video:
        from baselines_ppo.play.command import play

        return play(explicit, args)
    from baselines_ppo.train.runner import run

    return run(explicit, args)


if __name__ == "__main__":
    sys.exit(main())
