"""Reports the first non-finite number of a segment as the environment's error or the policy's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.diagnostics.nonfinite import first_nonfinite_step
from common.errors import EnvError, NonFiniteError
from common.formatting import truncate


def check_finite(
    ob: np.ndarray,
    ac: np.ndarray,
    rew: np.ndarray,
    last_ob: np.ndarray | None = None,
    final_obs: Sequence[tuple[int, int, np.ndarray]] = (),
    *,
    failed: bool = False,
    first_step: int = 0,
    first_env: int = 0,
    env_id: str | None = None,
) -> None:
    """Raise for the first non-finite number that `first_nonfinite_step` finds.

    Args:
        ob, ac, rew, last_ob, final_obs, failed: as `first_nonfinite_step` takes them.
        first_step: number of the first row within the segment.
        first_env: number of the environment of the first column.
        env_id: of the environments.

    Raises:
        EnvError: for an observation or a reward.
        NonFiniteError: for an action of the policy.
    """
    found = first_nonfinite_step(ob, ac, rew, last_ob, final_obs, failed)
    if found is None:
        return
    name, t, column, value = found
    position = "in the reset before the segment" if t < 0 else f"at step {first_step + t} of the segment"
    k = first_env + column
    if name == "action":
        raise NonFiniteError(
            f"the policy gave environment {k} the action {truncate(str(value))}, at a finite observation, {position}",
            "fix its forward, take a smaller step size, or scale the observations to the order of 1",
            arrays={"acted/ob": ob[: t + 1, column], "acted/ac": ac[: t + 1, column]},
            facts={"step": first_step + t, "environment": k},
            on_all_ranks=False,
        )
    article = "a" if name == "reward" else "an"
    raise EnvError(
        f"returned {article} {name} that is not finite: {truncate(str(value))}",
        environment=k,
        env_id=env_id,
        position=position,
    )
