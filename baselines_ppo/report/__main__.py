"""Runs `python -m baselines_ppo.report`."""

import sys

from baselines_ppo.report.command import main

if __name__ == "__main__":
    sys.exit(main())
