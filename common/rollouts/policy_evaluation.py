"""`evaluate_policy`: the mean return of a policy, with its spread and an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from scipy import stats

from common.envs.factory import make_env
from common.errors import UserError
from common.formatting import safe_repr
from common.policies.base import Policy
from common.policies.space_comparison import describe_spaces, policy_space_difference
from common.rollouts.evaluation import evaluate
from common.validation import check_bool
from common.vec_env.action_masks import with_masks_for
from common.vec_env.vector_env_checker import env_layout


@dataclass(frozen=True)
class Evaluation:
    """Returns and lengths of the episodes of an evaluation.

    Attributes:
        returns: [n] float64, undiscounted return of each episode, in the environment's own rewards.
        lengths: [n] int, steps of each episode.
    """

    returns: np.ndarray
    lengths: np.ndarray

    @property
    def episodes(self) -> int:
        """The number of episodes, n."""
        return len(self.returns)

    @property
    def mean(self) -> float:
        """The mean return."""
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        """The standard deviation of the returns over episodes (divisor n)."""
        return float(self.returns.std())

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean by Student's t, (low, high); None for a single episode."""
        n = self.episodes
        if n == 1:
            return None
        half = float(stats.t.ppf(0.975, n - 1)) * float(self.returns.std(ddof=1)) / math.sqrt(n)
        return self.mean - half, self.mean + half

    def describe(self, how: str = "") -> str:
        """Return one line: the number of episodes, the mean return with its spread and interval, the mean length.

        Args:
            how: the kind of episodes, such as 'deterministic'.
        """
        interval = ""
        if self.interval is not None:
            interval = f", 95 % interval of the mean {self.interval[0]:.6g} to {self.interval[1]:.6g}"
        kind = f"{how} " if how else ""
        return (
            f"{self.episodes} {kind}episode{'s' * (self.episodes != 1)}, return {self.mean:.6g} +- {self.std:.4g} "
            f"(from {self.returns.min():.6g} to {self.returns.max():.6g}){interval}, length {self.lengths.mean():.6g}"
        )

    def __str__(self) -> str:
        """The same line, without the kind of episodes."""
        return self.describe()


def evaluate_policy(
    pi: Policy, env: gym.Env | str, episodes: int = 10, deterministic: bool = True, seed: int = 0
) -> Evaluation:
    """Run whole episodes of a policy in one environment.

    Actions of a Box are clipped to its bounds, as in training. The policy's random state is not used: the same
    arguments give the same episodes. Under mpirun, every rank that calls it runs all episodes.

    Args:
        pi: the policy.
        env: a single environment, or a Gymnasium id. An environment that is made from an id has its own rewards and is
            closed at the end. Rewards of a given `env` are those that its outermost wrapper returns.
        episodes: how many.
        deterministic: take the most likely action; otherwise sample.
        seed: of the environment's first reset and of the sampled actions.

    Returns:
        An `Evaluation`.

    Raises:
        UserError: for an invalid argument, an environment with other spaces, or episodes that do not end.
        EnvError: for an error of the environment, or an invalid observation or reward.
    """
    deterministic = check_bool("deterministic", deterministic)
    if not isinstance(pi, Policy):
        raise UserError(f"invalid pi={safe_repr(pi)}: must be a Policy, such as learn and load_policy return")
    if isinstance(env, gym.vector.VectorEnv):
        raise UserError(f"invalid env={type(env).__name__}: must be a single environment or an id, not a VectorEnv")
    made = make_env(env, training=False) if isinstance(env, str) else None
    try:
        opened = with_masks_for(pi, made if made is not None else env)
        layout = env_layout(opened)
        if difference := policy_space_difference(pi, layout.ob_space, layout.ac_space):
            raise UserError(
                f"the policy is for {describe_spaces(pi.ob_space, pi.ac_space)}; env has "
                f"{describe_spaces(layout.ob_space, layout.ac_space)}: {difference}"
            )
        return Evaluation(*evaluate(pi, opened, episodes, not deterministic, seed))
    finally:
        if made is not None:
            made.close()
