"""Explains failures of training: non-finite numbers, and ranks that diverge."""
