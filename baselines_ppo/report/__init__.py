"""`python -m baselines_ppo.report`: draws a run's learning curve and its HTML report."""
