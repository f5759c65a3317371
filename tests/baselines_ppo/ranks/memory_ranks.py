"""Trains with a memory on all ranks, by both kinds of averaging; rank 0 prints what `test_memory_ranks.py` checks."""

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
from common.vec_env.in_process import InProcessVectorEnv  # noqa: E402

tf.config.threading.set_intra_op_parallelism_threads(1)
comm = communicator.world()


def flat(pi):
    return np.concatenate([v.numpy().ravel() for v in pi.get_trainable_variables()])


def train(averaging, memory):
    """Train with masks and two environments; returns (parameters, those before, digests by iteration and rank)."""
    digests, first = [], []

    def callback(local, _):
        pi = local["pi"]
        first.append(flat(pi))
        state = b"".join(np.ascontiguousarray(x).tobytes() for x in pi.state().values())
        digests.append(comm.gather(hashlib.sha256(state).hexdigest()))

    settings = {"timesteps_per_actorbatch": 64, "optim_batchsize": 16, "optim_epochs": 2, "adam_epsilon": 1.0}
    pi = learn(
        InProcessVectorEnv([Corridor(goal=3) for _ in range(2)]),
        lambda *args: uncompiled(*args, memory=memory, memory_size=4, memory_steps=8),
        averaging=averaging,
        callback=callback,
        max_iters=3,
        seed=7,
        optim_stepsize=1e-2,
        **settings,
    )
    assert pi.recurrent and pi.masked
    return flat(pi), first[0], digests


results = {}
for memory in ("lstm", "gru"):
    results[memory] = {}
    for averaging in ("gather", "average"):
        parameters, before, digests = train(averaging, memory)
        results[memory][averaging] = {
            "digests": digests,
            "parameters": parameters.tolist(),
            "before": before.tolist(),
        }
if comm.rank == 0:
    print("RESULTS", json.dumps(results))
