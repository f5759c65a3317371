"""Fuzzed files, crashing ranks, mutated equations, and the numeric tests on emulated processors and other versions."""
