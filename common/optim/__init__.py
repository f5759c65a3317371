"""Minibatch optimisation and conjugate gradients."""
