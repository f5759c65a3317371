"""What a task's score may fall to before it is called worse than its reference: the distribution over seeds in tests/reference."""
import json
from pathlib import Path

import numpy as np
from scipy import stats

FOLDER = Path(__file__).parents[1] / "reference"
FALSE_ALARMS = 0.01  # of the whole suite
LEAST_SPREAD = 0.005  # of the mean: where all seeds earn the same, rounding in another version of a library must not be an alarm


def prediction_bound(scores, runs, alarms):
    """The value that the mean of `runs` new runs falls below with probability `alarms`.

    Student's one-sided prediction bound of normal scores, or the same quantile of means drawn from the scores themselves where that is
    lower, as for a task at which one seed in twenty fails.

    Args:
        scores: of the reference, [N].
    """
    scores = np.asarray(scores, np.float64)
    n = len(scores)
    spread = max(scores.std(ddof=1), LEAST_SPREAD * abs(scores.mean()))
    normal = scores.mean() - stats.t.ppf(1 - alarms, n - 1) * spread * np.sqrt(1 / runs + 1 / n)
    drawn = np.random.default_rng(0).choice(scores, (200_000, runs)).mean(axis=1)
    return float(min(normal, np.quantile(drawn, alarms)))


def read(folder=FOLDER):
    """{task: its reference}: `scores` by seed, `runs` and `bound`, and what made them."""
    return {one["task"]: one for one in (json.loads(path.read_text()) for path in sorted(folder.glob("*.json")))}


def file_name(task):
    """A task's file."""
    return "".join(c if c.isalnum() or c == "." else "-" for c in task).strip("-") + ".json"
