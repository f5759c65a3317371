"""Callbacks: typed ones, Baselines' functions, and lists of both; any of them can end a run."""

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from logs import Rows
from small_policies import uncompiled

from baselines_ppo import Callback, StopTraining, UserError, learn, load_policy
from common.training.callbacks import as_callbacks, is_true, wants_to_stop

SMALL = {"timesteps_per_actorbatch": 64, "optim_batchsize": 32, "optim_epochs": 1, "seed": 0}


def train(callback, **kwargs):
    log = Rows()
    learn(gym.make("CartPole-v1"), uncompiled, callback=callback, logger=log, **SMALL | {"max_iters": 5} | kwargs)
    return log.rows


class Keeps(Callback):
    def __init__(self, stop_at=None):
        self.before, self.stats, self.stop_at = [], [], stop_at

    def before_iteration(self, training):
        self.before.append(training.iters_so_far)

    def after_iteration(self, training, stats):
        self.stats.append(stats)
        return training.iters_so_far == self.stop_at


def test_a_typed_callback_gets_every_row_of_the_log():
    keeps = Keeps()
    rows = train(keeps)
    assert keeps.stats == rows and len(rows) == 5
    assert keeps.before[:5] == [0, 1, 2, 3, 4]


def test_a_typed_callback_that_returns_true_ends_the_run_after_that_iteration():
    assert len(train(Keeps(stop_at=2))) == 2


def test_stop_training_raised_after_an_iteration_ends_the_run():
    class Stops(Callback):
        def after_iteration(self, training, stats):
            raise StopTraining

    assert len(train(Stops())) == 1


def test_a_list_of_callbacks_calls_all_of_them_whoever_stops():
    keeps, seen = Keeps(stop_at=3), []

    def baselines(locals_, globals_):
        seen.append(locals_["iters_so_far"])

    assert len(train([keeps, baselines])) == 3
    assert seen == [0, 1, 2, 3]  # asked once more, before an iteration that another callback has called off


def test_what_is_no_callback_is_refused_before_the_first_step():
    for wrong in (3, "stop", Keeps):
        with pytest.raises(UserError, match="is no callback"):
            train(wrong)


# as one writes it for Baselines: the best mean is saved, and since what a callback returns is not looked at there, an error of its own ends the run
FOR_BASELINES = """
import os
import numpy as np
from baselines.common import tf_util as U


class Solved(Exception):
    pass


best = {"mean": -np.inf}


def callback(locals_, globals_):
    if locals_["iters_so_far"] == 0:
        return
    mean = np.mean(locals_["rewbuffer"])
    if mean > best["mean"]:
        best["mean"] = mean
        SAVE
    if mean >= threshold:
        raise Solved
"""
SAVERS = {
    "save_state": 'U.save_state(os.path.join(folder, "best", "model"))',
    "save_variables": 'U.save_variables(os.path.join(folder, "best", "model"), variables=locals_["pi"].get_variables())',
}


@pytest.mark.parametrize("saver", SAVERS)
def test_a_callback_written_for_baselines_runs_with_its_import_changed_and_nothing_else(saver, tmp_path):
    names, log = {"folder": str(tmp_path), "threshold": 12.0}, Rows()
    text = FOR_BASELINES.replace("SAVE", SAVERS[saver])
    exec(text.replace("from baselines.common import tf_util", "from common import tf_util"), names)
    with pytest.raises(names["Solved"]):
        learn(gym.make("CartPole-v1"), uncompiled, callback=names["callback"], logger=log, max_iters=50, **SMALL)
    means = [row["EpRewMean"] for row in log.rows]
    assert means[-1] >= 12.0 > max(means[:-1], default=0.0)
    assert names["best"]["mean"] == means[-1]
    best = load_policy(tmp_path / "best" / "model")
    assert best.ob_rms.state()["count"] == 64 * len(
        means
    )  # the policy of the last iteration, with its observation filter


def test_a_name_that_a_callback_does_not_get_is_named_with_those_that_it_gets():
    with pytest.raises(
        UserError,
        match=r"reads locals\['env'\], which is not there; there are pi, oldpi, seg, .*tstart; take what else",
    ):
        train(lambda locals_, globals_: locals_["env"])


def test_a_run_that_its_callback_ends_before_it_has_begun_says_so(capsys):
    assert train(lambda locals_, globals_: True) == []
    assert "True before the first iteration, which ends the run with an untrained policy" in capsys.readouterr().err
    assert len(train(lambda locals_, globals_: locals_["iters_so_far"] == 2)) == 2
    assert capsys.readouterr().err == ""


def test_wants_to_stop_calls_all():
    called = []
    assert wants_to_stop([lambda: called.append(1), lambda: True, lambda: called.append(2)]) and called == [1, 2]
    assert wants_to_stop([lambda: np.mean([3.0]) > 2])  # NumPy's True is not Python's
    assert not wants_to_stop(
        [lambda: None, lambda: 1, lambda: np.False_]
    )  # Baselines' callbacks return whatever they like
    assert as_callbacks(None) == []


@pytest.mark.parametrize(
    "answer",
    [np.array(True), np.array([True]), np.array([[True]]), tf.constant(True), tf.constant([True]), tf.Variable(True)],
    ids=repr,
)
def test_an_array_or_tensor_of_one_bool_ends_the_run(answer):
    assert is_true(answer)
    assert not is_true(np.logical_not(answer))


def test_a_tensor_that_a_callback_has_compared_ends_the_run_wherever_it_is_returned():
    class Compares(Callback):
        def after_iteration(self, training, stats):
            return tf.reduce_mean([1.0]) > 0

    assert len(train(Compares())) == 1
    assert len(train(lambda names, _: tf.reduce_mean([float(names["iters_so_far"])]) > 1)) == 2


class Model:
    """As a Keras model: has dtype and shape, and says of itself that it is true."""

    dtype, shape = "bool", ()


@tf.function
def graph_tensor():
    assert not is_true(tf.constant(True))  # while it is traced
    return 1


@pytest.mark.parametrize(
    "answer",
    [
        None,
        1,
        1.0,
        "True",
        [True],
        (True, {}),
        {"stop": True},
        np.array(1),
        np.float32(1),
        tf.constant(1.0),
        tf.constant(1),
        np.ones(3),
        Model(),
        Model,
        np.bool_,
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_else_a_callback_returns_goes_on(answer):
    assert not is_true(answer)
    graph_tensor()


@pytest.mark.parametrize(
    "answer", [np.array([True, False]), np.zeros(0, bool), tf.constant([[True], [True]])], ids=repr
)
def test_an_array_of_several_bools_is_refused_in_one_line(answer):
    with pytest.raises(
        UserError, match=r"a callback has returned .* bools; return one, such as x.all\(\) or x.any\(\)"
    ) as error:
        is_true(answer)
    assert "\n" not in str(error.value)
