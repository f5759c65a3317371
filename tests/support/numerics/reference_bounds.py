"""Lower bounds on a task's returns, from its reference: the scores of other seeds, in tests/reference.

A bound applies to the best of a few new seeds. It is the r-th lowest score of the reference. If new seeds and reference seeds come
from one distribution, of any kind, all orders of them are equally likely. The best of m new scores is below the r-th lowest of n
only if all m are among the r + m - 1 lowest of n + m. The probability is at most C(r + m - 1, m) / C(n + m, m). Source: Wilks 1942,
"Statistical prediction with special reference to the problem of tolerance limits". No normal distribution is assumed: a task
on which one seed in twenty fails causes no more false alarms than any other.
"""

import json
import math
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[2] / "reference"
MILLION = FOLDER / "million"  # of the tasks of a million steps
FALSE_ALARMS = 0.01  # of a whole suite
SLACK = 0.005  # of the median: if all seeds score the same, rounding in another library version must not raise an alarm


def chance(rank, n, runs):
    """Upper bound of the probability that the best of `runs` new scores is below the `rank`-th lowest of `n`."""
    return math.comb(rank + runs - 1, runs) / math.comb(n + runs, runs)


def rank_of(n, runs, alarms):
    """The highest rank among `n` scores whose `chance` is at most `alarms`; 0 if there is none."""
    return next(rank for rank in range(n, -1, -1) if chance(rank, n, runs) <= alarms)


def enough(runs, alarms):
    """The smallest number of reference scores that gives a bound."""
    return next(n for n in range(1, 10**6) if rank_of(n, runs, alarms))


def prediction_bound(scores, runs, alarms):
    """The bound below which the best of `runs` new seeds falls with probability `alarms` at most.

    New seeds and the scores must come from one distribution.

    Args:
        scores: of the reference, [..., n]; each row has its own bound.

    Raises:
        ValueError: if there are too few.
    """
    scores = np.sort(np.asarray(scores, np.float64), axis=-1)
    count = scores.shape[-1]
    rank = rank_of(count, runs, alarms)
    if not rank:
        raise ValueError(f"{count} seeds are too few for a bound on {runs} new ones; it takes {enough(runs, alarms)}")
    middle = np.median(scores, axis=-1)
    return np.minimum(scores[..., rank - 1], middle - SLACK * np.abs(middle))


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
