"""`python -m baselines_ppo.plot`: compares runs in a figure and a table with significance tests. No TensorFlow."""
