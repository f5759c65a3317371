"""Trainings of policies with memory, action masks, mixed observations and mixed actions."""
