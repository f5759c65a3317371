"""`python -m baselines_ppo.sweep`: trains all combinations of settings in parallel processes. No TensorFlow."""
