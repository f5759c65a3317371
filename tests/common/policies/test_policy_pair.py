"""The policies that `policy_fn` returns: `learn` keeps loaded weights and draws new ones from the seed."""

import gymnasium as gym
import numpy as np
import pytest
from sample_env import BOX, TINY, TWO, SampleEnv, assert_same_state, small_mlp

from baselines_ppo import UserError, learn, load_policy, trpo_mpi, vpg

pytestmark = pytest.mark.usefixtures("uncompiled_here")


@pytest.fixture
def trained(tmp_path):
    """The file of a trained policy."""
    pi = learn(SampleEnv(), small_mlp, **TINY | {"seed": 5})
    pi.save(tmp_path / "trained")
    return tmp_path / "trained"


def assigned_by_hand(path):
    def policy_fn(*spaces):
        pi = small_mlp(*spaces)
        for v, x in zip(pi.get_variables(), load_policy(path).get_variables()):
            v.assign(x)
        return pi

    return policy_fn


def same_object(path):
    pi = load_policy(path)
    return lambda *spaces: pi


LEARN = {
    "ppo": lambda policy_fn: learn(SampleEnv(), policy_fn, **TINY | {"optim_stepsize": 1e-12}),
    "trpo": lambda policy_fn: trpo_mpi.learn(
        SampleEnv(), policy_fn, timesteps_per_batch=32, max_iters=1, max_kl=1e-20, vf_iters=0, seed=0
    ),
    "vpg": lambda policy_fn: vpg.learn(
        SampleEnv(),
        policy_fn,
        timesteps_per_actorbatch=32,
        max_iters=1,
        optim_stepsize=1e-12,
        vf_stepsize=1e-12,
        seed=0,
        vf_batchsize=16,
    ),
}


def loaded_at_each_call(path):
    return lambda *spaces: load_policy(path)


@pytest.mark.parametrize(
    "alg, policy_fn_of",
    [
        ("ppo", same_object),
        ("ppo", loaded_at_each_call),
        ("ppo", assigned_by_hand),
        ("trpo", same_object),
        ("vpg", same_object),
    ],
    ids=["an object", "loaded at each call", "assigned by hand", "trpo", "vpg"],
)
def test_learn_keeps_weights_that_policy_fn_loaded_or_assigned(alg, policy_fn_of, trained):
    pi, before = LEARN[alg](policy_fn_of(trained)), load_policy(trained)
    for v, x in zip(pi.get_variables(), before.get_variables()):
        np.testing.assert_allclose(v, x, atol=1e-7)  # steps of 1e-12, or of a KL of 1e-20
    assert pi.ob_rms.count >= 32 + (0 if policy_fn_of is assigned_by_hand else before.ob_rms.count)


def test_the_callers_object_is_pi_and_continues_in_the_next_learn(trained):
    mine = load_policy(trained)
    assert [learn(SampleEnv(), lambda *spaces: mine, **TINY).ob_rms.count for _ in range(2)] == [64, 96]
    before = mine.state()
    learn(SampleEnv(), lambda name, *spaces: mine if name == "oldpi" else small_mlp(name, *spaces), **TINY)
    for name, x in before.items():
        np.testing.assert_array_equal(mine.state()[name], x)


def test_a_new_policy_gets_weights_drawn_from_the_seed():
    """The weights of a policy that was not changed after its construction are drawn from the seed."""
    untouched = small_mlp("pi", BOX, TWO)
    assert_same_state(learn(SampleEnv(), lambda *spaces: untouched, **TINY), learn(SampleEnv(), small_mlp, **TINY))


def test_a_policy_for_other_spaces_is_refused(trained):
    with pytest.raises(
        UserError,
        match="policy_fn returned a policy for observations Box.*build it with the spaces that policy_fn is given",
    ):
        learn(SampleEnv(gym.spaces.Box(-1, 1, (3,))), same_object(trained), **TINY)
