"""Trains with action masks on all ranks, by both kinds of averaging; rank 0 prints what `test_masked_ranks.py` checks."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

SUPPORT = Path(__file__).parents[2] / "support"
sys.path[:0] = [str(SUPPORT / folder) for folder in ("", "environments")]
from masked_envs import Corridor  # noqa: E402
from small_policies import uncompiled  # noqa: E402

from baselines_ppo import learn  # noqa: E402
from common.distributed import communicator  # noqa: E402

tf.config.threading.set_intra_op_parallelism_threads(1)
comm = communicator.world()


def flat(pi):
    return np.concatenate([v.numpy().ravel() for v in pi.get_trainable_variables()])


def train(averaging):
    """Train, with an environment that raises an error for an invalid action.

    Returns (parameters, those before, digests by iteration and rank).
    """
    digests, first = [], []

    def callback(local, _):
        first.append(flat(local["pi"]))
        state = b"".join(np.ascontiguousarray(x).tobytes() for x in local["pi"].state().values())
        digests.append(comm.gather(hashlib.sha256(state).hexdigest()))

    settings = {"timesteps_per_actorbatch": 64, "optim_batchsize": 16, "optim_epochs": 2, "adam_epsilon": 1.0}
    env = Corridor("info" if comm.rank else "method", goal=3)
    pi = learn(
        env, uncompiled, averaging=averaging, callback=callback, max_iters=3, seed=7, optim_stepsize=1e-2, **settings
    )
    assert pi.masked
    return flat(pi), first[0], digests


results = {}
for averaging in ("gather", "average"):
    parameters, before, digests = train(averaging)
    results[averaging] = {"digests": digests, "parameters": parameters.tolist(), "before": before.tolist()}
if comm.rank == 0:
    print("RESULTS", json.dumps(results))
