"""Returns of small tasks: three seeds of each against the distribution of a hundred others (benchmarks/returns/references.py)."""

from dataclasses import replace

import numpy as np
import pytest
import return_tasks
from reference_bounds import FALSE_ALARMS, prediction_bound, read, values_of
from return_tasks import TASKS, score, settings_of
from scipy.stats import spearmanr

from baselines_ppo.config.setting_fields import RANGES, Range

REFERENCES = read()
SEEDS = (0, 1, 2)


def bound(name):
    """A score that the best of three seeds exceeds on all tasks with a probability of at least 99 %, if nothing has changed."""
    return prediction_bound(values_of(REFERENCES[name]), len(SEEDS), FALSE_ALARMS / len(TASKS))


@pytest.mark.parametrize("name", TASKS)
def test_best_of_three_seeds_is_at_least_the_bound_of_a_hundred_others(name):
    minimum, scores = bound(name), []
    while len(scores) < len(SEEDS) and not any(x >= minimum for x in scores):  # later seeds cannot change the result
        scores.append(score(name, SEEDS[len(scores)]))
    assert max(scores) >= minimum, (
        f"{scores}; {REFERENCES[name]['mean']:.4g} ± {REFERENCES[name]['deviation']:.3g} over the seeds of the reference"
    )


def test_references_have_other_seeds_and_the_same_tasks_and_settings():
    assert REFERENCES.keys() == TASKS.keys()
    for name, reference in REFERENCES.items():
        assert reference["settings"] == settings_of(name), (
            f"{name} has other settings than its reference: python -m benchmarks.returns.references"
        )
        assert len(reference["scores"]) >= 40 and not set(SEEDS) & set(map(int, reference["scores"]))
        assert not reference["git_commit"].endswith("+")


def test_held_out_seeds_raise_a_false_alarm_in_less_than_one_of_a_hundred_suites():
    rng, suites = np.random.default_rng(1), 10_000
    alarm = np.zeros(suites, bool)
    for reference in REFERENCES.values():
        permuted = rng.permuted(np.tile(values_of(reference), (suites, 1)), axis=1)
        new, old = np.split(permuted, [len(SEEDS)], axis=1)  # three seeds against the bound of the others
        alarm |= new.max(axis=1) < prediction_bound(old, len(SEEDS), FALSE_ALARMS / len(REFERENCES))
    assert alarm.mean() < FALSE_ALARMS


@pytest.mark.parametrize("name", TASKS)
def test_scores_of_a_reference_have_no_trend_over_seeds(name):
    """The bound assumes that scores are drawn from one distribution."""
    scores = REFERENCES[name]["scores"]
    p_value = spearmanr(list(map(int, scores)), list(scores.values())).pvalue  # NaN if all scores are equal
    assert not p_value < 2e-4  # a false alarm in one of 500 sets of ten tasks


# ---- three tasks detect three of the mutations of benchmarks/robustness/mutation_testing.py


class WithoutNormalization(return_tasks.MlpPolicy):
    """A policy whose observation statistics are never updated."""

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.ob_rms.update = lambda x: None


def without_normalization(monkeypatch):
    monkeypatch.setattr(return_tasks, "MlpPolicy", WithoutNormalization)


def with_settings(name, **settings):
    return lambda monkeypatch: monkeypatch.setitem(
        TASKS, name, replace(TASKS[name], settings=TASKS[name].settings | settings)
    )


def with_a_negative_entropy_bonus(monkeypatch):
    monkeypatch.setitem(RANGES, "nonnegative", Range(lambda x: True, ""))
    with_settings("bandit", entcoeff=-TASKS["bandit"].settings["entcoeff"])(monkeypatch)


MUTATIONS = {
    "far away": without_normalization,
    "ring": with_settings("ring", bootstrap_time_limits=False),
    "bandit": with_a_negative_entropy_bonus,
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_task_detects_its_mutation(name, monkeypatch):
    minimum = bound(name)
    MUTATIONS[name](monkeypatch)
    assert score(name, SEEDS[0]) < minimum
