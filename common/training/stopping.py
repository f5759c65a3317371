"""When a training stops, and which fraction of it is done."""

from __future__ import annotations

from dataclasses import dataclass, fields

from common.errors import UserError
from common.validation import INT64_MAX, check_int_argument, check_number


@dataclass(frozen=True)
class StopCriteria:
    """Stop criteria of a training. Exactly one of the four must be positive; 0 means "not used".

    Attributes:
        max_timesteps: environment steps, summed over ranks.
        max_episodes: finished episodes, summed over ranks.
        max_iters: iterations.
        max_seconds: wall-clock time in seconds, summed over all resumes.

    Raises:
        UserError: for a value that is not a number, or not an integer where a count is expected. None becomes 0.
    """

    max_timesteps: int = 0
    max_episodes: int = 0
    max_iters: int = 0
    max_seconds: float = 0

    def __post_init__(self) -> None:
        """Convert numbers of other types (such as NumPy's) to Python's, as config.json stores them."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                value = 0
            elif field.name == "max_seconds":
                value = check_number(field.name, value)
            else:
                value = check_int_argument(field.name, value, -INT64_MAX)
            object.__setattr__(self, field.name, value)

    def validate(self) -> None:
        """Raise UserError unless exactly one criterion is given, and it is positive and finite."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}
        if len(given) != 1:
            found = " and ".join(f"{name}={value}" for name, value in given.items()) or "none"
            names = ", ".join(f.name for f in fields(self))
            raise UserError(f"invalid training length ({found}): must be exactly one of {names}")
        ((name, value),) = given.items()
        if not 0 < value < float("inf"):
            raise UserError(f"invalid {name}={value}: must be positive and finite")

    def rounded_up(self, done: int, per_iteration: int) -> int:
        """Return the environment steps after the last iteration, because a training has whole iterations only.

        Args:
            done: steps that are done.
            per_iteration: steps of one iteration, summed over ranks.
        """
        return done + -(-max(0, self.max_timesteps - done) // per_iteration) * per_iteration

    def progress(self, timesteps: int, episodes: int, iters: int, seconds: float) -> float:
        """Return the fraction that is done. The training stops at 1, which the last iteration may exceed."""
        return max(
            done / limit
            for done, limit in (
                (timesteps, self.max_timesteps),
                (episodes, self.max_episodes),
                (iters, self.max_iters),
                (seconds, self.max_seconds),
            )
            if limit
        )
