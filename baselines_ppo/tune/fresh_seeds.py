"""The check of the best settings on seeds that the search has not used, against the settings without the search.

The best of many trials is partly lucky: its score in the search is too high. Fresh seeds give a score without this
bias.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baselines_ppo.plot.significance import ALPHA, summary_statistics
from common.formatting import format_number
from common.storage.atomic import atomic_write

SEED_DISTANCE = 1_000_000  # from the first seed of the search to the first fresh one
RESULT = "fresh_seeds.json"
VERDICTS = {
    "better": "the best settings are better than the default",
    "worse": "the best settings are worse than the default: the search has chosen them by luck",
    "open": "not significantly different: the best settings may have won the search by luck; repeat with more --seeds, "
    "--trials or --fresh-seeds",
}


def fresh_seeds(seed: int, number: int) -> list[int]:
    """Return the seeds of the check of a search whose first seed is `seed`."""
    return list(range(seed + SEED_DISTANCE, seed + SEED_DISTANCE + number))


def compare_pairs(best: Sequence[float], default: Sequence[float]) -> dict[str, Any]:
    """Compare returns [seeds] in pairs of equal seeds.

    Returns:
        A dict that can be written as JSON. It has the `summary_statistics` of "best", of "default" and of the
        "difference" of each pair. "verdict" is a key of `VERDICTS`: where 0 is, compared with the interval of the
        difference.
    """
    arrays = {"best": np.array(best, float), "default": np.array(default, float)}
    arrays["difference"] = arrays["best"] - arrays["default"]
    found: dict[str, Any] = {name: summary_statistics(x) | {"returns": x.tolist()} for name, x in arrays.items()}
    low, high = found["difference"]["interval"]
    found["verdict"] = "better" if low > 0 else "worse" if high < 0 else "open"
    return found


def write_check(folder: Path, found: Mapping[str, Any], trial: int, score: float, seeds: Sequence[int]) -> None:
    """Write the result of the check atomically, with the trial, its score in the search and the fresh seeds."""
    content = {"trial": trial, "score": score, "seeds": list(seeds), "level": ALPHA, **found}
    atomic_write(folder / RESULT, (json.dumps(content, indent=1) + "\n").encode())


def describe_check(found: Mapping[str, Any], score: float, seeds: Sequence[int]) -> list[str]:
    """Return the result of the check as lines.

    Args:
        found: result of `compare_pairs`.
        score: of the best trial in the search.
        seeds: the fresh seeds.
    """
    best, default, difference = (found[name] for name in ("best", "default", "difference"))
    low, high = (format_number(bound) for bound in difference["interval"])
    return [
        f"fresh seeds {seeds[0]} to {seeds[-1]}: best {describe_mean(best)} (in the search {format_number(score)}), "
        f"default {describe_mean(default)}",
        f"difference in pairs of equal seeds {format_number(difference['mean'])}, 95 % interval {low} to {high} "
        f"(Student's): {VERDICTS[found['verdict']]}",
    ]


def describe_mean(one: Mapping[str, Any]) -> str:
    """Return the mean ± the standard deviation of `summary_statistics` as text."""
    return f"{format_number(one['mean'])} ± {format_number(one['deviation'])}"
