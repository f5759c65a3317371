"""`run.py` without `--play`: trains a policy, from the command line to the final summary."""
