"""Compiled functions are shared by trainings that differ in nothing but the values of their variables."""

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from small_envs import Ragged

from baselines_ppo import MlpPolicy, learn, objectives, trpo_mpi, vpg
from common import compilation
from common.compilation import Compiled, Shared

SMALL = {"timesteps_per_actorbatch": 64, "optim_batchsize": 32, "optim_epochs": 2, "max_iters": 2, "seed": 3}


class Own(MlpPolicy):
    """A derived class, whose forward could differ."""


def policy_of(cls, **settings):
    """A `policy_fn` without XLA, because the tests do not need its compilation, which takes seconds."""

    def policy_fn(*args):
        pi = cls(*args, hid_size=8, **settings)
        pi.xla = False
        return pi

    return policy_fn


def weights(pi):
    return np.concatenate([v.numpy().ravel() for v in pi.get_trainable_variables()])


@pytest.fixture
def traces(monkeypatch):
    """A list to which the name of each traced graph is appended; no function is shared at the start."""
    found, trace = [], tf.function
    monkeypatch.setattr(compilation, "_functions", {})

    def counting(graph, **kwargs):
        def traced(*args):
            found.append(getattr(graph, "__qualname__", str(graph)))
            return graph(*args)

        return trace(traced, **kwargs)

    monkeypatch.setattr(compilation.tf, "function", counting)
    return found


@pytest.mark.parametrize(
    "train",
    [
        lambda **kwargs: learn(Ragged(), policy_of(MlpPolicy), **SMALL | kwargs),
        lambda **kwargs: learn(
            Ragged(), policy_of(MlpPolicy), **SMALL | {"averaging": "average", "objective": "adaptive_kl"} | kwargs
        ),
        lambda **kwargs: trpo_mpi.learn(
            Ragged(), policy_of(MlpPolicy), **{"timesteps_per_batch": 64, "max_iters": 2, "seed": 3} | kwargs
        ),
        lambda **kwargs: vpg.learn(
            Ragged(), policy_of(MlpPolicy), **{"timesteps_per_actorbatch": 64, "max_iters": 2, "seed": 3} | kwargs
        ),
    ],
    ids=["ppo", "ppo-average", "trpo", "vpg"],
)
def test_second_training_traces_nothing_and_has_the_same_result_as_alone(traces, train):
    first = train(seed=4)
    first_weights, count = weights(first), len(traces)
    assert count
    second = train()
    assert len(traces) == count
    np.testing.assert_array_equal(weights(first), first_weights)  # the second training has not changed the first policy
    compilation._functions.clear()
    np.testing.assert_array_equal(weights(train()), weights(second))  # traced again
    assert len(traces) == 2 * count


@pytest.mark.parametrize(
    "other",
    [
        {"objective": "unclipped"},
        {"entcoeff": 0.01},
        {"max_grad_norm": 0.5},
        {"adam_epsilon": 1e-8},
        {"vf_stepsize": 1e-3},
    ],
)
def test_training_with_another_setting_does_not_share_the_sweep(traces, other):
    learn(Ragged(), policy_of(MlpPolicy), **SMALL)
    shared = weights(learn(Ragged(), policy_of(MlpPolicy), **SMALL | other))
    compilation._functions.clear()
    np.testing.assert_array_equal(weights(learn(Ragged(), policy_of(MlpPolicy), **SMALL | other)), shared)


def test_policies_with_other_settings_or_classes_share_nothing(traces):
    learn(Ragged(), policy_of(MlpPolicy), **SMALL)
    for policy_fn in (policy_of(MlpPolicy, shared_trunk=True), policy_of(Own), policy_of(Own)):
        before = len(traces)
        learn(Ragged(), policy_fn, **SMALL)
        assert len(traces) >= before + 3  # evaluation, sweep, losses
    assert (
        Own("pi", Ragged().observation_space, gym.spaces.Discrete(2)).shared("any", lambda network: network.forward)
        is None
    )


def test_code_edited_between_two_trainings_is_traced_again(monkeypatch):
    before = weights(learn(Ragged(), policy_of(MlpPolicy), **SMALL))
    # as a notebook's autoreload does it
    monkeypatch.setattr(objectives.value_loss, "__code__", (lambda vpred, ret: 0.0 * vpred).__code__)
    edited = learn(Ragged(), policy_of(MlpPolicy), **SMALL)
    assert (weights(edited) != before).any()
    monkeypatch.undo()
    np.testing.assert_array_equal(weights(learn(Ragged(), policy_of(MlpPolicy), **SMALL)), before)


def test_shared_function_changes_the_variables_that_it_is_called_with():
    def over(variables):
        def add(x):
            variables[0].assign_add(x)
            return variables[0] * 2.0

        return add

    results = []
    for start in (1.0, 10.0):
        w = tf.Variable(start)
        double = Compiled(over([w]), shared=Shared(("test", "add"), [w], over))
        results.append((float(double(tf.constant(0.5))), float(w), double.experimental_get_tracing_count()))
    assert results == [(3.0, 1.5, 1), (21.0, 10.5, 1)]
