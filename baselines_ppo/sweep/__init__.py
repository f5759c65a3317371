"""`python -m baselines_ppo.sweep`: trains every combination of settings and seeds in parallel processes. No TensorFlow."""
