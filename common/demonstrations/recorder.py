"""Records the episodes that a policy plays, as demonstrations."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np

from common.demonstrations.data import Demonstrations, Entries, leaves
from common.errors import UserError


class DemonstrationRecorder(gym.Wrapper):
    """Wrapper that records observations, actions, rewards and ends.

    Args:
        env: the environment.
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self._observation: Any = None
        self._steps: dict[str, list[Any]] = {}

    def reset(self, **options: Any) -> Any:
        """Reset the environment, and remember its observation."""
        result = self.env.reset(**options)
        self._observation = copy.deepcopy(result[0])  # the environment may write its next observation into it
        return result

    def step(self, action: Any) -> Any:
        """Record the action, step the environment, and record what it returns."""
        entries = {**leaves("observations", self._observation), **leaves("actions", copy.deepcopy(action))}
        result = self.env.step(action)
        observation, reward, terminated, truncated, _ = result
        self._observation = copy.deepcopy(observation)
        step: Entries = entries | {"rewards": reward, "terminations": terminated, "truncations": truncated}
        for name, value in step.items():
            self._steps.setdefault(name, []).append(value)
        return result

    def demonstrations(self) -> Demonstrations:
        """Return the steps that were recorded so far.

        Raises:
            UserError: if there are none.
        """
        if not self._steps:
            raise UserError("no step was recorded; run episodes of the recorder's environment first")
        return Demonstrations.from_entries({name: np.stack(values) for name, values in self._steps.items()}, "recorded")
