"""The settings that all algorithms have in common. Imports no TensorFlow."""

from dataclasses import dataclass, fields, replace
from typing import Self

from baselines_ppo.config.setting_fields import Search, SettingsBase, setting, setting_info
from common.errors import UserError
from common.hints import LIMIT_DISCOUNT, LIMIT_LINEAR
from common.training.stopping import StopCriteria
from common.validation import check_divisible

ALGORITHM_NAMES = ("ppo", "trpo", "vpg")


@dataclass(frozen=True)
class Settings(SettingsBase):
    """Settings that the algorithms have in common. Counts of steps and samples are per rank, over all its environments.

    Raises:
        UserError: for a number or bool of another type that cannot be converted without loss.
    """

    gamma: float = setting(
        0.99,
        "discount factor",
        group="returns",
        allowed="fraction",
        # values at equal distances in the horizon 1 / (1 - gamma), on a logarithmic scale
        search=Search(choices=(0.9, 0.95, 0.98, 0.99, 0.995, 0.999), default_for=ALGORITHM_NAMES),
    )
    gamma_final: float | None = setting(
        None,
        "discount factor at the end of the run; 1 - gamma changes geometrically towards it",
        group="returns",
        allowed="fraction",
        unset="gamma",
        search=Search(choices=(0.995, 0.998, 0.999)),
    )
    lam: float = setting(
        0.95,
        "lambda of GAE; with 1 the value function is trained on Monte Carlo returns, with 0 on TD(0) targets",
        group="returns",
        allowed="fraction",
        search=Search(0.8, 1.0, default_for=ALGORITHM_NAMES),
    )
    entcoeff: float = setting(
        0.0,
        "coefficient of the entropy bonus",
        group="objective",
        allowed="nonnegative",
        search=Search(1e-6, 0.05, log=True, default_for=ALGORITHM_NAMES),
    )
    scale_returns: bool = setting(
        False, "divide rewards by the running standard deviation of the discounted return", group="returns"
    )
    bootstrap_time_limits: bool = setting(
        True,
        "at a time limit, add the value of the last observation to the return; false: nothing, as after a termination",
        group="returns",
    )

    def check(self) -> None:
        """Raise UserError for the first value that is invalid, and for a minibatch larger than its rollout."""
        super().check()
        if self.gamma_final is not None and max(self.gamma, self.gamma_final) == 1:
            raise UserError(
                f"invalid gamma_final={self.gamma_final} with gamma={self.gamma}: both must be below 1, because "
                "1 - gamma changes geometrically; use 0.9999 instead of 1"
            )
        steps_name, samples_name = self.counts()
        steps, samples = getattr(self, steps_name), getattr(self, samples_name)
        is_used = samples_name != "vf_batchsize" or getattr(self, "vf_iters", 0) > 0
        if is_used and samples is not None and samples > steps:
            raise UserError(
                f"invalid {samples_name}={samples}: must be at most {steps_name}={steps}; use a smaller minibatch or a "
                "longer rollout"
            )

    def check_with(self, limits: StopCriteria) -> None:
        """Raise UserError if settings and limits contradict each other."""
        limits.validate()
        schedules = {getattr(self, info.schedule) for one in fields(self) if (info := setting_info(one)).schedule}
        is_length_known = limits.max_timesteps or limits.max_iters
        if "linear" in schedules and not is_length_known:
            raise UserError(f"a linear schedule needs to know how long the run is: {LIMIT_LINEAR}")
        if self.gamma_final is not None and not is_length_known:
            raise UserError(f"gamma_final={self.gamma_final} needs to know how long the run is: {LIMIT_DISCOUNT}")

    def discount(self, progress: float) -> float:
        """Return the discount factor after a fraction of the training.

        With `gamma_final`, the horizon 1 / (1 - gamma) grows by the same factor in equal parts of the training. A
        discount factor that grows was proposed for Q-learning by François-Lavet et al. 2015
        (https://arxiv.org/abs/1512.02011).

        Args:
            progress: completed fraction of the training.
        """
        if self.gamma_final is None:
            return self.gamma
        discounting: float = (1 - self.gamma) ** (1 - progress) * (1 - self.gamma_final) ** progress
        return 1 - discounting

    def check_for(self, num_envs: int) -> None:
        """Raise UserError if the steps of a rollout do not divide evenly among a rank's environments."""
        steps_name, _ = self.counts()
        check_divisible(steps_name, getattr(self, steps_name), num_envs)

    def per_rank(self, ranks: int, num_envs: int) -> Self:
        """Return these settings with counts per rank, if the counts are totals over `ranks`.

        Args:
            ranks: number of ranks.
            num_envs: environments of one rank, of which the steps of a rollout become a multiple.
        """
        steps_name, samples_name = self.counts()
        steps, samples = split_over_ranks(getattr(self, steps_name), ranks, num_envs), getattr(self, samples_name)
        if samples is not None:
            samples = min(split_over_ranks(samples, ranks), steps)
        return replace(self, **{steps_name: steps, samples_name: samples})

    @classmethod
    def counts(cls) -> tuple[str, str]:
        """Return the names of the fields for the number of steps of a rollout and of samples of a minibatch."""
        names = {setting_info(one).per_rank: one.name for one in fields(cls)}
        return names["steps"], names["samples"]


def split_over_ranks(total: int, ranks: int, multiple: int = 1) -> int:
    """Return one rank's part of a total: a multiple of `multiple`, and at least that."""
    return max(total // ranks // multiple, 1) * multiple
