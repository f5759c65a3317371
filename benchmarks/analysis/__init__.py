"""Analyses of methods: statistical power, policy steps."""
