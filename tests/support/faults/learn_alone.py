"""`learn` in a script of one's own, not by the command line; an environment goes wrong on one rank: `learn_alone.py FAULT RANK [RUN_DIR]`."""

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
