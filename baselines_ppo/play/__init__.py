"""`run.py --play`: runs a saved policy, shows it, or records a video."""
