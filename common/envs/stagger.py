"""EarlyEnd: the first episode of an environment cut short, so that environments that begin together do not stay in step."""

import gymnasium as gym


class StaggeredFirstEpisode(gym.Wrapper):
    """Ends the episode that a seeded `reset` begins after some steps, as a time limit would, if it has not ended by then.

    Where all episodes last until a time limit, environments that begin together stay at the same step of their episodes, and a segment never holds
    but one part of an episode. Rudin et al. 2022 ("Learning to Walk in Minutes Using Massively Parallel Deep Reinforcement Learning") have it in
    their code as `init_at_random_ep_len`.

    Args:
        env: an environment, whose own episodes a Monitor inside still counts; the one that is cut is none of them.
        steps: after which it ends.
    """

    def __init__(self, env, steps):
        super().__init__(env)
        self.steps, self.left = steps, 0

    def reset(self, *, seed=None, options=None):
        """A new episode; with a seed, one that will end early."""
        self.left = self.steps if seed is not None else 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action):
        """A step, handed on as it is, but for the end."""
        result = self.env.step(action)
        self.left -= 1
        return result if self.left else (*result[:3], True, result[4])
