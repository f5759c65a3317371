"""Layers of policies' networks: memory cells, convolutions."""
