"""Randomness as a pure function of (seed, purpose, rank, env, iteration): nothing is carried, so a resumed run repeats it."""

import numpy as np

# one number per purpose, so that no two streams ever coincide
INITIALISE, ACTIONS, MINIBATCHES, ENVIRONMENTS, EVALUATION = range(5)


def generator(seed, purpose, *path):
    """A NumPy generator for one purpose of one run.

    Args:
        seed: the run's seed, an int >= 0.
        purpose: one of the constants of this module.
        path: ints that tell the users of one purpose apart, such as (rank, iteration).
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(purpose, *path))))


def environment_seeds(seed, rank, num_envs, epoch):
    """Seeds for `env.reset(seed=)`: `num_envs` ints below 2**31, different for every rank, env and epoch.

    `epoch` counts the times that all environments were reset by a checkpoint (0 at the start of a run).
    """
    return [int(generator(seed, ENVIRONMENTS, rank, env, epoch).integers(2**31)) for env in range(num_envs)]
