"""A run's directory: configuration, checkpoints and logs, written and read."""
