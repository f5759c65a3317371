"""Running mean and standard deviation over all ranks, as `ob_rms` and the return scaling use them."""

import numpy as np

from common.distributed import communicator
from common.errors import UserError


class RunningMeanStd:
    """Mean and standard deviation of all rows seen, on all ranks, in float64.

    Before the first row it is mean 0, standard deviation 1. Baselines counts that start as a hundredth of a sample; here it counts for
    nothing, because at observations around 1e4 it would make a deviation of 22 out of 1.

    Args:
        shape: shape of one row.
        comm: the ranks it runs over; this process alone if None.
        min_std: the standard deviation is never given as less, so that a constant input is not blown up. 0.1 is Baselines'.

    Attributes:
        count: samples seen, a float that counts past 1e9 exactly (float64 holds integers to 2**53).
        mean, var: [*shape] float64.
    """

    def __init__(self, shape=(), comm=None, min_std=0.1):
        self.comm, self.min_std = comm or communicator.Communicator(None), min_std
        self.count, self.mean, self.var = 0.0, np.zeros(shape), np.ones(shape)

    def __getstate__(self):
        """What a copy has, also one that is pickled: the statistics, not the ranks."""
        return vars(self) | {"comm": None}

    def __setstate__(self, state):
        vars(self).update(state, comm=communicator.Communicator(None))

    @property
    def std(self):
        """[*shape] float64, at least `min_std`, and 1 where both are 0: a constant input becomes 0."""
        std = np.maximum(np.sqrt(self.var), self.min_std)
        return np.where(std == 0, 1.0, std)

    def update(self, x):
        """Take in rows `x` [N, *shape] of this rank; all ranks must call it together. N may differ and may be 0."""
        self.count, self.mean, self.var = communicator.merge_moments(
            self.count, self.mean, self.var, *self.comm.moments(x)
        )

    def normalise(self, x, clip):
        """(x - mean) / std, clipped to +-`clip`: computed in float64, so that an offset far from 0 costs nothing; float32."""
        return np.clip((x - self.mean) / self.std, -clip, clip).astype(np.float32)

    def state(self):
        """Arrays by name, for a checkpoint."""
        return {"count": np.float64(self.count).reshape(1), "mean": self.mean.copy(), "var": self.var.copy()}

    def restore(self, state):
        """Take over what `state` gave. UserError if it cannot be of any samples."""
        if not (state["count"] >= 0).all() or not (state["var"] >= 0).all() or np.isnan(state["mean"]).any():
            raise UserError("running statistics with a negative count or variance, or no number, cannot be")
        self.count, self.mean, self.var = float(state["count"][0]), state["mean"].copy(), state["var"].copy()
