"""Scores of trained policies: the queue of trainings, their result files, tables, figures, tuning and the references of the return tests."""
