"""Trainings with a memory on two ranks: all ranks are equal, and both kinds of averaging give the same update."""

import json
from pathlib import Path

import jobs
import numpy as np

SCRIPT = Path(__file__).with_name("memory_ranks.py")


def test_two_ranks_stay_equal_with_a_memory():
    finished = jobs.run(2, SCRIPT)
    assert finished.returncode == 0, finished.stderr
    line = next(line for line in finished.stdout.splitlines() if line.startswith("RESULTS "))
    results = json.loads(line.removeprefix("RESULTS "))
    for by_averaging in results.values():
        for found in by_averaging.values():
            assert all(len(set(row)) == 1 for row in found["digests"])
            assert len({row[0] for row in found["digests"]}) == 4  # each iteration changes the parameters
        gathered, averaged = (np.array(by_averaging[name]["parameters"]) for name in ("gather", "average"))
        # rounding of float32; as in test_ranks, an epsilon of 1 keeps Adam from magnifying it
        np.testing.assert_allclose(gathered, averaged, rtol=0, atol=1e-5)
        assert by_averaging["gather"]["moved"] > 1e-3
