"""Demonstrations: observations and actions of another policy or of a person, from which a policy can start."""
