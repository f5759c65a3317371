"""Runs `python -m baselines_ppo.plot`."""

import sys

from baselines_ppo.plot.command import main

if __name__ == "__main__":
    sys.exit(main())
