"""`python -m baselines_ppo`, `baselines-ppo` and `run.py`."""

import os
import sys

from baselines_ppo.cli.parser import parse, print_error
from common.errors import UserError
from common.runtime.crash_stacks import stacks


def one_run(path):
    """`path`, or the newest run in it where it is a folder of runs, which is said."""
    from common.policies.files import locate

    _, run = locate(path)
    if run is None:
        return path
    print(f"{path} holds runs; the newest with a policy is {run.name}", file=sys.stderr, flush=True)
    return str(run)


def main(argv=None):
    """Train or play as the command line says; returns the exit status. 2 is a mistake in what was asked for."""
    if argv is None:
        stacks.enable(replace=True)
    os.environ.setdefault(
        "OPENBLAS_NUM_THREADS", "1"
    )  # before NumPy reads it: acting multiplies vectors, and more threads only wait for each other
    try:
        typed, args = parse(sys.argv[1:] if argv is None else argv)
        if args.play or args.video:
            from baselines_ppo.play.command import play

            if args.load_path:
                args.load_path = one_run(args.load_path)
            return play(typed, args)
    except UserError as error:
        print_error(error)
        return 2
    except KeyboardInterrupt:
        print_error("interrupted")
        return 130
    from baselines_ppo.train.runner import run

    return run(typed, args)


if __name__ == "__main__":
    sys.exit(main())
