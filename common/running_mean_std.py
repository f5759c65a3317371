"""Running mean and standard deviation over all ranks, used for observations and for return scaling."""

from __future__ import annotations

from typing import Any

import numpy as np

from common.distributed import communicator
from common.errors import UserError


class RunningMeanStd:
    """Mean and standard deviation of all samples seen on all ranks, in float64.

    Before the first sample, mean is 0 and standard deviation 1. Baselines gives these initial values the weight of 0.01
    samples; here they have no weight: with observations near 1e4 they would turn a standard deviation of 1 into 22.

    Args:
        shape: of one sample.
        comm: the ranks to combine; None: this process only.
        min_std: lower bound of the standard deviation, so that a constant input is not amplified. Baselines uses 0.1.

    Attributes:
        count: number of samples seen, a float (float64 holds integers up to 2**53 exactly).
        mean, var: [*shape] float64.
    """

    def __init__(
        self, shape: tuple[int, ...] = (), comm: communicator.Communicator | None = None, min_std: float = 0.1
    ):
        self.comm = comm or communicator.Communicator(None)
        self.min_std = min_std
        self.count = 0.0
        self.mean = np.zeros(shape)
        self.var = np.ones(shape)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles hold the statistics, not the ranks."""
        return vars(self) | {"comm": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, comm=communicator.Communicator(None))

    @property
    def std(self) -> np.ndarray:
        """[*shape] float64, at least `min_std`; 1 where both are 0, so that a constant input becomes 0."""
        std = np.maximum(np.sqrt(self.var), self.min_std)
        return np.where(std == 0, 1.0, std)

    def update(self, x: np.ndarray) -> None:
        """Add this rank's samples `x` [N, *shape]. Collective; N may differ between ranks and may be 0."""
        moments = self.comm.moments(x)
        self.count, self.mean, self.var = communicator.merge_moments(self.count, self.mean, self.var, *moments)

    def normalise(self, x: np.ndarray, clip: float) -> np.ndarray:
        """(x - mean) / std, clipped to [-clip, clip], float32; computed in float64, for precision at large offsets."""
        return np.clip((x - self.mean) / self.std, -clip, clip).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        """Arrays by name, for a checkpoint."""
        return {"count": np.float64(self.count).reshape(1), "mean": self.mean.copy(), "var": self.var.copy()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Restore what `state` returned.

        Raises:
            UserError: if the arrays are not statistics of any samples.
        """
        if not (state["count"] >= 0).all() or not (state["var"] >= 0).all() or np.isnan(state["mean"]).any():
            raise UserError(
                "invalid running statistics: count and variance must be at least 0, and the mean must not be NaN"
            )
        self.count = float(state["count"][0])
        self.mean = state["mean"].copy()
        self.var = state["var"].copy()
