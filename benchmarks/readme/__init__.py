"""Writes the results in README.md and benchmarks/README.md, from the result files in benchmarks/results."""
