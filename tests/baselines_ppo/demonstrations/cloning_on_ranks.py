"""Run by test_start_from_demonstrations.py on one and two ranks: a training that starts from demonstrations.

Rank 0 prints one JSON list with what each rank has: digests of its state after cloning and at the end.
"""

import hashlib
import json

import numpy as np
from balancing import demonstrations

from baselines_ppo import Callback, Policy, UserError, learn
from common.distributed import communicator

comm, states = communicator.world(), []
Policy.xla = False  # compilation takes longer than this training


def digest(training):
    """Return a digest of the policy and the return scale."""
    state = {**training.pi.state(), **training.checkpointables["returns"].state()}
    return hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in state.values())).hexdigest()


class KeepStates(Callback):
    """Keeps digests of the state at the start and after each iteration."""

    def on_training_start(self, training):
        states.append(digest(training))

    def after_iteration(self, training, stats):
        states.append(digest(training))


options = {"timesteps_per_actorbatch": 64, "optim_batchsize": 32, "max_iters": 1, "scale_returns": True, "seed": 3}
data = demonstrations(2) if comm.rank == 0 else "read by rank 0.npz"
learn("CartPole-v1", "MlpPolicy", demonstrations=data, demonstration_epochs=2, callback=KeepStates(), **options)
error = None
try:
    learn("CartPole-v1", "MlpPolicy", demonstrations="nowhere.npz", **options)
except UserError as caught:
    error = str(caught)
found = comm.gather({"start": states[0], "end": states[-1], "error": error})
if comm.rank == 0:
    print(json.dumps(found))
