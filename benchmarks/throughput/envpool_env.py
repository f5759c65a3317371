"""EnvPool's environments as a Gymnasium vector environment, for the throughput benchmark."""

from typing import Any

import envpool
import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space


class EnvPoolVectorEnv(gym.vector.VectorEnv):
    """EnvPool's own class has the spaces of one environment where Gymnasium's has those of all.

    Args:
        env_id: EnvPool's id of the task.
        num_envs: environments.
        threads: of EnvPool.
    """

    def __init__(self, env_id: str, num_envs: int, threads: int) -> None:
        self.pool = envpool.make_gymnasium(env_id, num_envs=num_envs, num_threads=threads, seed=0)
        self.num_envs, self.metadata = num_envs, self.pool.metadata
        self.single_observation_space, self.single_action_space = self.pool.observation_space, self.pool.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Start all episodes; the seed is that of the constructor."""
        return self.pool.reset()

    def step(self, actions: np.ndarray) -> tuple[Any, ...]:
        """Step all environments; one whose episode ended is reset instead."""
        return self.pool.step(actions)
