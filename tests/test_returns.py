"""It learns as well as it did: three seeds of each small task against the distribution of forty others (benchmarks/references.py)."""
import numpy as np
import pytest
from reference_bounds import FALSE_ALARMS, prediction_bound, read
from return_tasks import TASKS, score

REFERENCES = read()
if not REFERENCES:
    pytest.skip("there are no references yet: python benchmarks/references.py", allow_module_level=True)
SEEDS = (0, 1, 2)


@pytest.mark.parametrize("name", TASKS)
def test_three_seeds_earn_what_forty_others_did(name):
    reference = REFERENCES[name]
    assert not set(SEEDS) & set(map(int, reference["scores"]))
    scores = [score(name, seed) for seed in SEEDS]
    assert np.mean(scores) >= reference["bound"], f"{scores}, mean {np.mean(scores):.4g}; {reference['mean']:.4g} over 40 seeds"


def test_references_are_of_forty_seeds_and_of_these_tasks():
    assert REFERENCES.keys() == TASKS.keys()
    for name, reference in REFERENCES.items():
        assert len(reference["scores"]) >= 40 and reference["steps"] == TASKS[name].steps
        assert reference["bound"] == pytest.approx(prediction_bound(list(reference["scores"].values()), len(SEEDS), FALSE_ALARMS / len(TASKS)))


def test_the_suite_cries_wolf_less_than_once_in_a_hundred_runs():
    rng = np.random.default_rng(1)
    alarm = np.zeros(100_000, bool)
    for reference in REFERENCES.values():
        drawn = rng.choice(list(reference["scores"].values()), (len(alarm), len(SEEDS)))
        alarm |= drawn.mean(axis=1) < reference["bound"]
    assert alarm.mean() < FALSE_ALARMS
