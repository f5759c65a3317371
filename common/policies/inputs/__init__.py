"""Inputs of policies that consist of several arrays: records, action masks, mixed parts, sequences."""
