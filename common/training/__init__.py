"""The training loop that every algorithm shares, its callbacks and its stop criteria."""
