"""Ends first episodes early, so that parallel environments with fixed-length episodes are not in lockstep."""

from __future__ import annotations

from typing import Any

import gymnasium as gym


class StaggeredFirstEpisode(gym.Wrapper):
    """Truncates the episode that a seeded `reset` starts, after `steps` steps.

    If every episode lasts until a time limit, environments that start together remain at the same step of their
    episodes, and a segment contains only one part of an episode. Rudin et al. 2022 ("Learning to Walk in Minutes Using
    Massively Parallel Deep Reinforcement Learning") do the same in their code (`init_at_random_ep_len`).

    Args:
        env: an environment. A Monitor inside records its own episodes; the truncated one is not among them.
        steps: length of the truncated episode.
    """

    def __init__(self, env: gym.Env, steps: int) -> None:
        super().__init__(env)
        self.steps = steps
        self.steps_left = 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        """Start a new episode; with a seed, one that is truncated early."""
        self.steps_left = self.steps if seed is not None else 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        """Step the environment; truncate the episode if it is due."""
        result = self.env.step(action)
        self.steps_left -= 1
        return result if self.steps_left else (*result[:3], True, result[4])
