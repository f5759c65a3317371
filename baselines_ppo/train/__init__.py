"""`run.py`: trains a policy, from the resolved settings to the last line that is printed."""
