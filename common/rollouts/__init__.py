"""Collects segments, and computes values, advantages and scaled rewards of them."""
