"""Paths that several benchmarks use."""

from pathlib import Path

ROOT = Path(__file__).parents[1]  # root of the clone
RESULTS = ROOT / "benchmarks" / "results"
