#!/usr/bin/env python
"""The command line from a clone: `python run.py --env Hopper-v4`, `mpirun -n 8 python run.py --env Hopper-v4`."""

import sys

from baselines_ppo.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
