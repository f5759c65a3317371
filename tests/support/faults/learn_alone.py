"""Calls `learn` in a user's script. The environment of one rank fails: `learn_alone.py FAULT RANK [RUN_DIR]`."""

import sys

from failing_ranks import FailsOnOneRank
from small_policies import uncompiled

from baselines_ppo import learn

if __name__ == "__main__":
    env = FailsOnOneRank(sys.argv[1], int(sys.argv[2]), at=100)
    learn(
        env,
        uncompiled,
        timesteps_per_actorbatch=64,
        optim_batchsize=32,
        optim_epochs=1,
        max_iters=10**6,
        seed=1,
        run_dir=(*sys.argv[3:], None)[0],
    )
