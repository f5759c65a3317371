"""`learn` by names, `register_objective` and `LearningCurve` on two ranks. `public_names.py` runs them."""

import json
from pathlib import Path

import jobs
import pytest


@pytest.fixture(scope="module")
def ranks():
    """Return the weights and the learning curve of each of two ranks."""
    finished = jobs.run(2, Path(__file__).with_name("public_names.py"), env=jobs.support_path())
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def test_weights_are_equal(ranks):
    assert len(ranks) == 2 and ranks[0]["weights"] == ranks[1]["weights"]


def test_learning_curves_are_equal_but_for_the_time(ranks):
    rows = [[{name: x for name, x in row.items() if name != "TimeElapsed"} for row in one["rows"]] for one in ranks]
    assert [row["TimestepsSoFar"] for row in rows[0]] == [2 * 64, 2 * 2 * 64]
    assert all("TimeElapsed" in row for one in ranks for row in one["rows"])
    assert json.dumps(rows[0], sort_keys=True) == json.dumps(rows[1], sort_keys=True)  # NaN is equal to NaN
