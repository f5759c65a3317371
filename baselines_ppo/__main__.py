"""`python -m baselines_ppo`, `baselines-ppo` and `run.py`."""
import sys

from baselines_ppo.cli import complain, parse
from common.errors import UserError


def main(argv=None):
    """Train or play as the command line says; returns the exit status. 2 is a mistake in what was asked for."""
    try:
        typed, args = parse(sys.argv[1:] if argv is None else argv)
        if args.play or args.video:
            from baselines_ppo.play import play
            return play(typed, args)
    except UserError as error:
        complain(error)
        return 2
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    from baselines_ppo.runner import run
    return run(typed, args)


if __name__ == "__main__":
    sys.exit(main())
