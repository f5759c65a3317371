"""`register_objective`: a program's own surrogate objective is trained like one of the package."""

import numpy as np
import pytest
import tensorflow as tf
from gymnasium.envs.classic_control import CartPoleEnv
from small_policies import uncompiled

from baselines_ppo import learn, register_objective
from common.errors import UserError

pytestmark = pytest.mark.usefixtures("no_registrations")
TINY = {"timesteps_per_actorbatch": 64, "optim_batchsize": 32, "optim_stepsize": 0.01, "max_iters": 1, "seed": 3}


def weights(objective, **settings):
    """{name: array} of the policy after a training with an objective."""
    pi = learn("CartPole-v1", uncompiled, objective=objective, **TINY, **settings)
    return {name: np.array(x) for name, x in pi.state().items()}


def equal(a, b):
    return all(np.array_equal(x, b[name]) for name, x in a.items())


def test_clipping_that_is_registered_trains_as_the_packages_own():
    def clipping(ratio, atarg, kl, c):
        return tf.minimum(ratio * atarg, tf.clip_by_value(ratio, 1 - c.clip_param, 1 + c.clip_param) * atarg)

    register_objective("clipping", clipping)
    assert equal(weights("clipping", clip_param=0.01), weights("clip", clip_param=0.01))
    assert not equal(weights("clipping", clip_param=0.01), weights("unclipped"))


def test_objective_without_gradient_leaves_the_policys_part_of_the_network():
    initial = {}

    def remember(locals_, globals_):
        if locals_["iters_so_far"] == 0:
            initial.update({name: np.array(x) for name, x in locals_["pi"].state().items()})

    register_objective("nothing", lambda ratio, atarg, kl, c: 0.0 * atarg)
    found = weights("nothing", callback=remember)
    policy = [name for name in found if "/pol/" in name]
    value = [name for name in found if "/vf/" in name and name.endswith("/w")]
    assert policy and all(np.array_equal(found[name], initial[name]) for name in policy)
    assert value and not any(np.array_equal(found[name], initial[name]) for name in value)


def test_penalty_gets_the_kl_and_the_coefficient_of_the_settings():
    register_objective("penalty", lambda ratio, atarg, kl, c: ratio * atarg - c.beta * kl)
    assert equal(weights("penalty", beta=3.0), weights("fixed_kl", beta=3.0))


def test_a_name_that_is_registered_again_has_the_new_function():
    register_objective("mine", lambda ratio, atarg, kl, c: 0.0 * atarg)
    before = weights("mine")
    register_objective("mine", lambda ratio, atarg, kl, c: ratio * atarg)
    after = weights("mine")
    assert equal(after, weights("unclipped")) and not equal(after, before)


def test_a_name_can_be_used_once_it_is_registered():
    with pytest.raises(UserError, match="invalid objective='mine': must be one of clip, adaptive_kl, fixed_kl, uncl"):
        learn("CartPole-v1", uncompiled, objective="mine", **TINY)
    register_objective("mine", lambda ratio, atarg, kl, c: ratio * atarg)
    with pytest.raises(UserError, match="invalid objective='min': must be one of .*unclipped, mine"):
        learn("CartPole-v1", uncompiled, objective="min", **TINY)


@pytest.mark.parametrize(
    "function, message",
    [
        (
            lambda ratio, atarg, kl, c: (ratio * atarg)[:, tf.newaxis],
            r"objective 'mine' returned values of shape \(32, 1\) for a ratio of shape \(32,\); return one value for each",
        ),
        (
            lambda ratio, atarg, kl, c: tf.reduce_mean(ratio * atarg),
            r"objective 'mine' returned values of shape \(\) for a ratio of shape \(32,\); return one value for each",
        ),
        (
            lambda ratio, atarg, kl, c: None,
            r"objective 'mine' returned None, not a tensor with the shape of ratio, \(32,\)",
        ),
    ],
    ids=["[N, 1]", "mean", "None"],
)
def test_an_objective_without_one_value_per_sample_is_refused_before_the_first_step(function, message, monkeypatch):
    steps = []
    monkeypatch.setattr(CartPoleEnv, "step", lambda env, action: steps.append(action))
    register_objective("mine", function)
    with pytest.raises(UserError, match=message) as error:
        learn("CartPole-v1", uncompiled, objective="mine", **TINY)
    assert steps == [] and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["clip", "adaptive_kl", "", "my objective", "2nd", None, 3])
def test_invalid_names_are_refused(name):
    with pytest.raises(UserError, match="invalid name="):
        register_objective(name, lambda ratio, atarg, kl, c: ratio * atarg)


def test_what_cannot_be_called_is_refused():
    with pytest.raises(UserError, match="invalid function='ratio': must be a function"):
        register_objective("mine", "ratio")
