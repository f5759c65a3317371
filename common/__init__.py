"""What any policy-gradient method needs: distributions, running statistics, MPI verbs and Adam, segments and
advantages, the training loop, environments, logging, checkpoints. Knows nothing of `baselines_ppo`."""

OWNER = "baselines_ppo"  # `baselines_ppo` checks it: another project's `common` may stand first on sys.path
