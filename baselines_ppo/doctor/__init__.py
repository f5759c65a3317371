"""`python -m baselines_ppo.doctor`: checks an installation and prints how to repair it."""
