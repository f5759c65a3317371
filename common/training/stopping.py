"""How long a run goes on, and how far it has come."""

from dataclasses import dataclass, fields

from common.errors import UserError
from common.validation import INT64_MAX, check_int_argument, check_number


@dataclass(frozen=True)
class StopCriteria:
    """Exactly one of the four; 0 is none.

    Attributes:
        max_timesteps: environment steps over all ranks.
        max_episodes: finished episodes over all ranks.
        max_iters: iterations.
        max_seconds: wall time, over all resumes.

    Raises:
        UserError: for what is no number, or no whole number of steps, episodes or iterations. None is taken for 0.
    """

    max_timesteps: int = 0
    max_episodes: int = 0
    max_iters: int = 0
    max_seconds: float = 0

    def __post_init__(self):
        """Numbers of other types become Python's own, as the run's config.json holds them."""
        for one in fields(self):
            value = getattr(self, one.name)
            if value is None:
                value = 0
            elif one.name == "max_seconds":
                value = check_number(one.name, value)
            else:
                value = check_int_argument(one.name, value, -INT64_MAX)
            object.__setattr__(self, one.name, value)

    def check(self):
        """Raises UserError unless exactly one limit is given, and positive."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}
        if len(given) != 1:
            found = " and ".join(f"{name}={value}" for name, value in given.items()) or "none"
            raise UserError(
                f"a run needs exactly one limit, here it has {found}; give one of {', '.join(f.name for f in fields(self))}"
            )
        ((name, value),) = given.items()
        if not 0 < value < float("inf"):
            raise UserError(
                f"{name}={value} is {'negative' if value < 0 else 'no number of them'}; give a positive number"
            )

    def rounded_up(self, done, per_iteration):
        """The steps of a run of whole iterations when it has come to `max_timesteps`; `done` are made, and an iteration is `per_iteration`."""
        return done + -(-max(0, self.max_timesteps - done) // per_iteration) * per_iteration

    def progress(self, timesteps, episodes, iters, seconds):
        """How much of the run is done, from 0; 1 or more ends it."""
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
