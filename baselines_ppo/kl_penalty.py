"""The coefficient of the KL penalty during a training."""

from __future__ import annotations

import numpy as np

from baselines_ppo.config.settings import PPOSettings
from baselines_ppo.objectives import adapt_kl_coefficient


class AdaptiveKLCoefficient:
    """Coefficient beta of the KL penalty: constant, or adapted in each iteration to the KL over all ranks.

    Args:
        settings: the `PPOSettings`.

    Attributes:
        beta: current value.
    """

    def __init__(self, settings: PPOSettings):
        self.beta = settings.beta
        self.adaptive = settings.objective == "adaptive_kl"
        self.low = settings.kl_min or settings.kl_target / 1.5
        self.high = settings.kl_max or settings.kl_target * 1.5

    def update(self, kl: float) -> None:
        """Adapt beta after an update with KL(pi_old || pi) = `kl`."""
        if self.adaptive:
            self.beta = adapt_kl_coefficient(self.beta, kl, self.low, self.high)

    def state(self) -> dict[str, np.ndarray]:
        """beta, for a checkpoint."""
        return {"beta": np.array([self.beta])}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Restore what `state` returned."""
        self.beta = float(state["beta"][0])
