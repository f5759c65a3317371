"""Runs `python -m baselines_ppo.doctor`."""

import sys

from baselines_ppo.doctor.command import main

if __name__ == "__main__":
    sys.exit(main())
