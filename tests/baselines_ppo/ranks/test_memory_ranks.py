"""Trainings with a memory on two ranks: all ranks are equal, and both kinds of averaging give the same update."""

import json
from pathlib import Path

import jobs
import numpy as np
from tolerance import LIBM, change_error

SCRIPT = Path(__file__).with_name("memory_ranks.py")
# Of up to 32 samples through the layers, and of a sequence of 8 steps, forwards and backwards. A step multiplies by 8 inputs and states
# at most, and has two nonlinearities behind each other, each as exact as `LIBM` ulps, or twice as many roundings.
ROUNDINGS = 300 + 2 * 8 * (8 + 2 * 2 * LIBM)


def test_two_ranks_stay_equal_with_a_memory():
    finished = jobs.run(2, SCRIPT)
    assert finished.returncode == 0, finished.stderr
    line = next(line for line in finished.stdout.splitlines() if line.startswith("RESULTS "))
    results = json.loads(line.removeprefix("RESULTS "))
    for by_averaging in results.values():
        for found in by_averaging.values():
            assert all(len(set(row)) == 1 for row in found["digests"])
            assert len({row[0] for row in found["digests"]}) == 4  # each iteration changes the parameters
        gathered, averaged, before = (
            np.array(by_averaging[name][key])
            for name, key in (("gather", "parameters"), ("average", "parameters"), ("gather", "before"))
        )
        change = np.linalg.norm(gathered - before)
        limit = change_error(ROUNDINGS, steps=24, size=np.linalg.norm(before), change=change)
        assert np.linalg.norm(gathered - averaged) < limit * change and limit < 0.01
