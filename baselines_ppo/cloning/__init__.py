"""Starts a training from demonstrations: behaviour cloning of the policy, and a fit of its value function."""
