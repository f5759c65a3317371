"""The search for the first non-finite minibatch of a compiled sweep, with scripted sweeps instead of trainings."""

import numpy as np
import pytest

from common.diagnostics.minibatch_bisect import MinibatchLabel, locate_in_compiled_sweep

MINIBATCHES = 23


class ScriptedSweep:
    """A sweep whose parameters become non-finite in the step of minibatch `bad_step`.

    Attributes:
        steps: made by the last replay.
        replays: number of calls.
    """

    def __init__(self, bad_step):
        self.bad_step = bad_step
        self.steps = None
        self.replays = 0

    def replay(self, steps):
        self.steps = steps
        self.replays += 1
        return steps <= self.bad_step


def terms_with_nan_from(first):
    """[M, 2], of which the second column is NaN from minibatch `first` on."""
    terms = np.zeros((MINIBATCHES, 2), np.float32)
    terms[first:, 1] = np.nan
    return terms


@pytest.mark.parametrize("bad", range(MINIBATCHES))
def test_step_that_makes_parameters_non_finite_is_found(bad):
    sweep = ScriptedSweep(bad_step=bad)
    assert locate_in_compiled_sweep(terms_with_nan_from(bad + 1), sweep.replay) == bad
    assert sweep.steps == bad  # parameters are those before this minibatch
    assert sweep.replays <= 7  # log2 of 24 prefixes, and the last


@pytest.mark.parametrize("bad", range(MINIBATCHES))
def test_minibatch_with_non_finite_terms_is_found_if_parameters_were_finite(bad):
    sweep = ScriptedSweep(bad_step=bad)  # the step with the gradient of these terms makes parameters non-finite
    assert locate_in_compiled_sweep(terms_with_nan_from(bad), sweep.replay) == bad
    assert sweep.steps == bad


def test_first_minibatch_is_named_if_parameters_were_not_finite_before_the_sweep():
    assert locate_in_compiled_sweep(terms_with_nan_from(0), ScriptedSweep(bad_step=-1).replay) == 0


def test_minibatches_are_named_by_epoch():
    label = MinibatchLabel(minibatches_per_epoch=4, first_epoch=2)
    assert [label.describe(i) for i in (0, 3, 4)] == [
        "minibatch 0 of epoch 2",
        "minibatch 3 of epoch 2",
        "minibatch 0 of epoch 3",
    ]
