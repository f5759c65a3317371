"""Benchmarks of speed, returns, the paper's experiments and robustness. Run them from the root of a clone: `python -m benchmarks.GROUP.MODULE`."""
