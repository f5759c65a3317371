"""It learns as well as it did: three seeds of each small task against the distribution of a hundred others (benchmarks/returns/references.py)."""

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
    """What the best of three seeds falls below in fewer than one suite of a hundred, on any of the tasks."""
    return prediction_bound(values_of(REFERENCES[name]), len(SEEDS), FALSE_ALARMS / len(TASKS))


@pytest.mark.parametrize("name", TASKS)
def test_the_best_of_three_seeds_is_no_worse_than_a_hundred_others_let_expect(name):
    scores = [score(name, seed) for seed in SEEDS]
    assert max(scores) >= bound(name), (
        f"{scores}; {REFERENCES[name]['mean']:.4g} ± {REFERENCES[name]['deviation']:.3g} over the seeds of the reference"
    )


def test_references_are_of_other_seeds_of_these_tasks_and_settings():
    assert REFERENCES.keys() == TASKS.keys()
    for name, reference in REFERENCES.items():
        assert reference["settings"] == settings_of(name), (
            f"{name} is trained otherwise than its reference: python -m benchmarks.returns.references"
        )
        assert len(reference["scores"]) >= 40 and not set(SEEDS) & set(map(int, reference["scores"]))
        assert not reference["git_commit"].endswith("+")


def test_held_out_seeds_of_the_references_cry_wolf_in_fewer_than_one_suite_of_a_hundred():
    rng, suites = np.random.default_rng(1), 10_000
    alarm = np.zeros(suites, bool)
    for reference in REFERENCES.values():
        for suite, drawn in enumerate(
            rng.permuted(np.tile(values_of(reference), (suites, 1)), axis=1)
        ):  # three seeds against the bound of the others
            new, old = drawn[: len(SEEDS)], drawn[len(SEEDS) :]
            alarm[suite] |= new.max() < prediction_bound(old, len(SEEDS), FALSE_ALARMS / len(REFERENCES))
    assert alarm.mean() < FALSE_ALARMS


@pytest.mark.parametrize("name", TASKS)
def test_seeds_of_a_reference_are_draws_of_one_distribution(
    name,
):  # which the bound takes for granted: no trend as they were trained one after another
    scores = REFERENCES[name]["scores"]
    assert (
        not spearmanr(list(map(int, scores)), list(scores.values())).pvalue < 2e-4
    )  # once in 500 sets of ten tasks; NaN where all scores are the same


# ---- three tasks are there for three ways to break the build (benchmarks/robustness/mutation_testing.py), and see them


class Blind(return_tasks.MlpPolicy):
    """A policy whose observation filter never learns."""

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.ob_rms.update = lambda x: None


def without_filter(monkeypatch):
    monkeypatch.setattr(return_tasks, "MlpPolicy", Blind)


def with_settings(name, **settings):
    return lambda monkeypatch: monkeypatch.setitem(
        TASKS, name, replace(TASKS[name], settings=TASKS[name].settings | settings)
    )


def with_a_negative_bonus(monkeypatch):
    monkeypatch.setitem(RANGES, "nonnegative", Range(lambda x: True, ""))
    with_settings("bandit", entcoeff=-TASKS["bandit"].settings["entcoeff"])(monkeypatch)


BROKEN = {
    "far away": without_filter,
    "ring": with_settings("ring", bootstrap_time_limits=False),
    "bandit": with_a_negative_bonus,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_task_sees_the_mutation_that_it_is_there_for(name, monkeypatch):
    least = bound(name)
    BROKEN[name](monkeypatch)
    assert score(name, SEEDS[0]) < least
