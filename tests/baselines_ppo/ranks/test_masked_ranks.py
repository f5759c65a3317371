"""Trainings with action masks on two ranks: all ranks are equal, and both kinds of averaging give the same update."""

import json
from pathlib import Path

import jobs
import numpy as np
from tolerance import change_error

SCRIPT = Path(__file__).with_name("masked_ranks.py")


def test_two_ranks_stay_equal_with_masks():
    finished = jobs.run(2, SCRIPT)
    assert finished.returncode == 0, finished.stderr
    line = next(line for line in finished.stdout.splitlines() if line.startswith("RESULTS "))
    results = json.loads(line.removeprefix("RESULTS "))
    for found in results.values():
        assert all(len(set(row)) == 1 for row in found["digests"])
        assert len({row[0] for row in found["digests"]}) == 4  # each iteration changes the parameters
    gathered, averaged = (np.array(results[name]["parameters"]) for name in ("gather", "average"))
    before = np.array(results["gather"]["before"])
    change = np.linalg.norm(gathered - before)
    # roundings of up to 32 samples through four layers
    limit = change_error(300, steps=24, size=np.linalg.norm(before), change=change)
    assert np.linalg.norm(gathered - averaged) < limit * change and limit < 0.01
