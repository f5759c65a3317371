"""The parts that all policy-gradient methods share: distributions, MPI, Adam, rollouts, environments, files.

Does not import `baselines_ppo`.
"""

OWNER = "baselines_ppo"  # checked by `baselines_ppo`: another project's `common` may come first on sys.path
