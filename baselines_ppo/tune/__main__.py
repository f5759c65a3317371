"""Runs `python -m baselines_ppo.tune`."""

import sys

from baselines_ppo.tune.command import main

if __name__ == "__main__":
    sys.exit(main())
