"""What a task's returns may fall to before they are called worse than its reference: the scores of other seeds, in tests/reference.

The bound is one on the best of a few new seeds: it lies at the r-th lowest score of the reference. Where new seeds and those of the reference are drawn
from one distribution, whichever it is, all orders of them are as likely, so that all m new ones are among the r + m - 1 lowest of n + m, and their best
below the r-th lowest of the n, with probability C(r + m - 1, m) / C(n + m, m) at most: Wilks 1942, "Statistical prediction with special reference to
the problem of tolerance limits". Nothing is taken for normal: a task at which one seed in twenty fails is as quiet as any other.
"""

import json
import math
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[2] / "reference"
MILLION = FOLDER / "million"  # of the tasks of a million steps
FALSE_ALARMS = 0.01  # of a whole suite
SLACK = (
    0.005  # of the median: where all seeds earn the same, rounding in another version of a library must not be an alarm
)


def chance(rank, n, runs):
    """The most that the best of `runs` new scores falls below the `rank`-th lowest of `n` by chance."""
    return math.comb(rank + runs - 1, runs) / math.comb(n + runs, runs)


def rank_of(n, runs, alarms):
    """The highest rank among `n` scores whose `chance` is at most `alarms`; 0 if there is none."""
    return next(rank for rank in range(n, -1, -1) if chance(rank, n, runs) <= alarms)


def enough(runs, alarms):
    """How many scores a reference must have, at least, for a bound."""
    return next(n for n in range(1, 10**6) if rank_of(n, runs, alarms))


def prediction_bound(scores, runs, alarms):
    """What the best of `runs` new seeds falls below with probability `alarms` at most, if they are drawn from what the scores were drawn from.

    Args:
        scores: of the reference, [n].

    Raises:
        ValueError: if there are too few.
    """
    scores = np.sort(np.asarray(scores, np.float64))
    rank = rank_of(len(scores), runs, alarms)
    if not rank:
        raise ValueError(
            f"{len(scores)} seeds are too few for a bound on {runs} new ones; it takes {enough(runs, alarms)}"
        )
    middle = np.median(scores)
    return float(min(scores[rank - 1], middle - SLACK * abs(middle)))


def reference(task, scores, **made_by):
    """A reference as it is written: `scores` is {seed: score}; `made_by` has `settings`, `git_commit` and what else made them."""
    values = list(scores.values())
    return {
        "task": task,
        **made_by,
        "mean": float(np.mean(values)),
        "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
        "scores": {str(seed): scores[seed] for seed in sorted(scores)},
    }


def write(reference, folder=FOLDER):
    """Write a reference; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(reference["task"])
    path.write_text(json.dumps(reference, indent=1) + "\n")
    return path


def read(folder=FOLDER):
    """{task: its reference}."""
    return {one["task"]: one for one in (json.loads(path.read_text()) for path in sorted(folder.glob("*.json")))}


def values_of(reference):
    """A reference's scores, [n]."""
    return np.array(list(reference["scores"].values()))


def file_name(task):
    """A task's file."""
    return "".join(c if c.isalnum() or c == "." else "-" for c in task).strip("-") + ".json"
