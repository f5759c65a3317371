"""Makes a replica diverge during a training, for `rank_checks.py`."""

import numpy as np
import tensorflow as tf
from small_envs import Ragged
from small_policies import uncompiled

from baselines_ppo import Callback, learn
from common.diagnostics.replica_check import ReplicaDivergenceError
from common.runs.run_directory import RunDirectory


def flip(x):
    """Flip the lowest bit of the first number of a variable or an array."""
    bits = (x.numpy() if isinstance(x, tf.Variable) else x).view(np.uint8)
    bits.flat[0] ^= 1
    if isinstance(x, tf.Variable):
        x.assign(bits.view(x.dtype.as_numpy_dtype).reshape(x.shape))


def diverge(comm, folder, averaging, when, name, select):
    """Flip a bit on the last rank in the third iteration of a training; returns (message, names of the checkpoints).

    Args:
        comm: the ranks.
        folder: for the run directory.
        averaging: as `learn` takes it.
        when: "before" or "after" the iteration, or during "collect".
        name: of the array, for the run directory.
        select: function (pi) -> the variable or array to change.
    """
    run_directory, last = RunDirectory(folder / f"{averaging} {when} {name}"), comm.rank == comm.size - 1
    found = {}

    class FlipInCallback(Callback):
        def before_iteration(self, training):
            found["pi"] = training.pi
            self.flip_at("before", training.iters_so_far == 2)

        def after_iteration(self, training, stats):
            self.flip_at("after", training.iters_so_far == 3)

        def flip_at(self, moment, is_third_iteration):
            if last and is_third_iteration and moment == when:
                flip(select(found["pi"]))

    class FlipInStep(Ragged):
        steps = 0

        def step(self, action):
            self.steps += 1
            if last and when == "collect" and self.steps == 150:
                flip(select(found["pi"]))
            return super().step(action)

    try:
        learn(
            FlipInStep(),
            uncompiled,
            callback=FlipInCallback(),
            averaging=averaging,
            timesteps_per_actorbatch=64,
            optim_batchsize=16,
            optim_epochs=1,
            max_iters=3,
            seed=7,
            folder=run_directory,
            checkpoint_every=1,
        )
        message = "not found"
    except ReplicaDivergenceError as error:
        message = str(error)
    comm.barrier()
    return message, [path.name for path in run_directory.checkpoints.paths()]
