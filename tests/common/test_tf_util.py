"""Baselines' `tf_util` without a session: variables are restored from files, and errors name the line to use
instead.
"""

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from small_policies import uncompiled

from baselines_ppo import UserError, load_policy
from common import tf_util as U


def policy(hid_size=8, seed=0):
    """Return a policy with random weights and an updated observation filter."""
    pi = uncompiled("pi", gym.spaces.Box(-1, 1, (3,)), gym.spaces.Discrete(2), hid_size=hid_size)
    rng = np.random.default_rng(seed)
    for v in pi.get_variables():
        v.assign(rng.standard_normal(v.shape))
    pi.ob_rms.update(rng.standard_normal((50, 3)))
    return pi


def assert_same(one, other):
    for name, x in one.state().items():
        np.testing.assert_array_equal(other.state()[name], x, err_msg=name)


def test_the_variables_of_a_policy_are_restored_with_its_filter(tmp_path):
    pi, other = policy(seed=0), policy(seed=1)
    U.save_variables(str(tmp_path / "new" / "model"), variables=pi.get_variables())
    U.load_variables(str(tmp_path / "new" / "model"), variables=other.get_variables())
    assert_same(pi, other)
    assert_same(pi, load_policy(tmp_path / "new" / "model"))


def test_any_list_of_variables_is_restored(tmp_path):
    saved, other = ([tf.Variable(x, name="v"), tf.Variable([2 * x, x], name="v")] for x in (1.5, 0.0))
    U.save_variables(tmp_path / "two", saved)
    U.load_variables(tmp_path / "two", other)
    assert [v.numpy().tolist() for v in other] == [1.5, [3.0, 1.5]]


def test_in_a_callback_the_state_is_the_policy_of_the_training(tmp_path):
    pi, other = policy(seed=0), policy(seed=1)
    with U.default_variables(pi.get_variables()):
        U.save_state(tmp_path / "state")
    with U.default_variables(other.get_variables()):
        U.load_state(tmp_path / "state")
    assert_same(pi, other)


@pytest.mark.parametrize(
    "function, alternative",
    [
        ("save_state", "pi.save"),
        ("load_state", "load_policy"),
        ("save_variables", "pi.save"),
        ("load_variables", "load_policy"),
    ],
)
def test_without_a_session_the_error_names_the_line_to_use(function, alternative, tmp_path):
    with pytest.raises(
        UserError,
        match=rf"{function}: there is no session .*use .*{alternative}\(path\), or "
        rf"U\.{function[:4]}_variables\(path, variables=pi",
    ):
        getattr(U, function)(tmp_path / "model")


def test_a_file_of_other_variables_is_refused_and_nothing_is_changed(tmp_path):
    pi, before = policy(hid_size=4), policy(hid_size=4)
    U.save_variables(tmp_path / "policy", policy().get_variables())
    U.save_variables(tmp_path / "list", list(policy().get_variables()))
    for path, variables in (
        (tmp_path / "policy", pi.get_variables()),
        (tmp_path / "list", list(pi.get_variables())),
        (tmp_path / "list", pi.get_variables()),
        (tmp_path / "policy", list(pi.get_variables())),
        (tmp_path / "none", pi.get_variables()),
    ):
        with pytest.raises(UserError, match=path.name):
            U.load_variables(path, variables)
    assert_same(before, pi)


def test_functions_of_a_session_raise_an_error_with_the_reason():
    with pytest.raises(
        AttributeError,
        match="no make_session, because there is no session: leave the call out.*docs/migration/baselines-ppo1.md",
    ):
        U.make_session(num_cpu=1)
