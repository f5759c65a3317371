"""What every policy-gradient method needs: distributions, running statistics, MPI, Adam, rollouts, environments, files.

Does not import `baselines_ppo`.
"""

OWNER = "baselines_ppo"  # checked by `baselines_ppo`: another project's `common` may come first on sys.path
