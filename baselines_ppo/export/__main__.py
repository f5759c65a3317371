"""Runs `python -m baselines_ppo.export`."""

import sys

from baselines_ppo.export.command import main

if __name__ == "__main__":
    sys.exit(main())
