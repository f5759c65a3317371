"""Returns and lengths of episodes, for environments without a `Monitor`."""

import numpy as np

MAX_EPISODE_STEPS = 1_000_000  # waiting for the end of an episode fails after this number of steps


class EpisodeCounter:
    """Returns and lengths of episodes that may span several segments.

    Args:
        num_envs: K.

    Attributes:
        returns, lengths: [K], of the running episodes so far.
    """

    def __init__(self, num_envs: int):
        self.num_envs = num_envs
        self.reset()

    def reset(self) -> None:
        """Forget the running episodes."""
        self.returns = np.zeros(self.num_envs)
        self.lengths = np.zeros(self.num_envs, int)

    def count(self, rew: np.ndarray, valid: np.ndarray, ended: np.ndarray) -> list[tuple[float, int]]:
        """Process the next steps.

        Args:
            rew: [T, K], 0 where a step is not valid.
            valid: [T, K] bool, whether the step was taken with the policy's action.
            ended: [T, K] bool, whether the step ended its episode.

        Returns:
            [(return, length)] of the episodes that ended, in the order in which they ended.
        """
        episodes: list[tuple[float, int]] = []
        start = np.zeros(self.num_envs, int)
        for t, k in np.argwhere(ended):
            self.returns[k] += rew[start[k] : t + 1, k].sum()
            self.lengths[k] += valid[start[k] : t + 1, k].sum()
            episodes.append((float(self.returns[k]), int(self.lengths[k])))
            self.returns[k] = self.lengths[k] = 0
            start[k] = t + 1
        for k in range(self.num_envs):
            self.returns[k] += rew[start[k] :, k].sum()
            self.lengths[k] += valid[start[k] :, k].sum()
        return episodes
