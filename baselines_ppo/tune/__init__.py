"""`python -m baselines_ppo.tune`: searches for settings with a high return, by the library Optuna. No TensorFlow."""
