"""Runs `python -m baselines_ppo.sweep`."""

import sys

from baselines_ppo.sweep.command import main

if __name__ == "__main__":
    sys.exit(main())
