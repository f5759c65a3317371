"""Policies built from parts: features of the observation, memory, hidden layers, heads."""
