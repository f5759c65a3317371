"""Experiments of the PPO paper (Schulman et al. 2017), and the original PPO1 on current environments."""
