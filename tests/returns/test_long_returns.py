"""Returns after a million steps: three seeds of each of nine tasks against the seeds trained by benchmarks/returns/final_policies.py.

python -m pytest -m slow tests/returns/test_long_returns.py      takes an hour and a half on two cores
"""

import pytest
from reference_bounds import FALSE_ALARMS, MILLION, enough, prediction_bound, read, values_of

from benchmarks.returns import final_policies
from benchmarks.returns.group_table import policy_score
from benchmarks.returns.result_files import same_settings
from benchmarks.returns.training_queue import train

REFERENCES, SEEDS = read(MILLION), final_policies.TEST_SEEDS
ALARMS = FALSE_ALARMS / len(final_policies.NINE)
ENOUGH = enough(len(SEEDS), ALARMS)


def reference(env):
    """A task's reference; skips the test if it has too few seeds."""
    found = len(REFERENCES[env]["scores"]) if env in REFERENCES else 0
    if found < ENOUGH:
        pytest.skip(
            f"the reference of {env} has {found} seeds, and a bound needs {ENOUGH}: "
            f"python -m benchmarks.returns.final_policies --group references --env {env}, then python -m benchmarks.returns.references --million"
        )
    return REFERENCES[env]


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("env", final_policies.NINE)
def test_best_of_three_seeds_is_at_least_the_bound_of_the_reference(env, tmp_path):
    bound = prediction_bound(values_of(reference(env)), len(SEEDS), ALARMS)
    scores = [policy_score(train(job, tmp_path, exclusive=False)) for job in final_policies.jobs("nine", [env], SEEDS)]
    assert max(scores) >= bound, (
        f"{scores}; {REFERENCES[env]['mean']:.4g} ± {REFERENCES[env]['deviation']:.3g} over the seeds of the reference"
    )


@pytest.mark.skipif(
    not REFERENCES,
    reason="there are no references of a million steps yet: python -m benchmarks.returns.references --million",
)
def test_references_have_other_seeds_and_the_same_settings():
    for env, found in REFERENCES.items():
        job, *_ = final_policies.jobs("nine", [env], SEEDS)
        assert not set(SEEDS) & set(map(int, found["scores"]))
        assert same_settings(found["settings"], job.settings) and found["steps"] == job.steps, (
            f"{env} has other settings than its reference: train the reference again"
        )
        assert "+" not in found["git_commit"]
