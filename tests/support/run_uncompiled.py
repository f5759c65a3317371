"""run.py without XLA, whose compilation is a third of a short run and no part of what is tested where this stands for it."""

import sys
from pathlib import Path

if __name__ == "__main__":  # and not in the processes that it spawns
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from common.runtime.tf_import import import_tensorflow

    import_tensorflow(threads=1)
    from baselines_ppo.__main__ import main
    from common.policies.base import Policy

    Policy.xla = False
    sys.exit(main())
