"""Random generators as a pure function of (seed, purpose, rank, env, iteration).

No generator state is carried over, so a resumed run draws the same numbers.
"""

import numpy as np

# one number per purpose, so that no two streams coincide
INITIALISE, ACTIONS, MINIBATCHES, ENVIRONMENTS, EVALUATION, DEMONSTRATIONS = range(6)


def generator(seed: int, purpose: int, *path: int) -> np.random.Generator:
    """Return the random generator for one purpose of one run.

    Args:
        seed: the run's seed, at least 0.
        purpose: one of the constants of this module.
        path: distinguishes the users of one purpose, such as (rank, iteration).
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(purpose, *path))))


def environment_seeds(seed: int, rank: int, num_envs: int, epoch: int) -> list[int]:
    """Return `num_envs` seeds for `env.reset(seed=)`, below 2**31, different for every rank, environment and epoch.

    Args:
        epoch: how often a checkpoint has reset all environments; 0 at the start of a run.
    """
    return [int(generator(seed, ENVIRONMENTS, rank, env, epoch).integers(2**31)) for env in range(num_envs)]
