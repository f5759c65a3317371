"""Callbacks: the class with its lifecycle, Baselines' functions, and lists of both. Any of them can stop a training."""

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


class Recording(Callback):
    def __init__(self, stop_at=None):
        self.before, self.stats, self.stop_at = [], [], stop_at

    def before_iteration(self, training):
        self.before.append(training.iters_so_far)

    def after_iteration(self, training, stats):
        self.stats.append(stats)
        return training.iters_so_far == self.stop_at


def test_a_callback_gets_every_row_of_the_log():
    recording = Recording()
    rows = train(recording)
    assert recording.stats == rows and len(rows) == 5
    assert recording.before[:5] == [0, 1, 2, 3, 4]


def test_a_callback_that_returns_true_stops_after_that_iteration():
    assert len(train(Recording(stop_at=2))) == 2


def test_stop_training_raised_after_an_iteration_stops():
    class Stops(Callback):
        def after_iteration(self, training, stats):
            raise StopTraining

    assert len(train(Stops())) == 1


def test_all_callbacks_of_a_list_are_called_if_one_stops():
    recording, seen = Recording(stop_at=3), []

    def baselines(locals_, globals_):
        seen.append(locals_["iters_so_far"])

    assert len(train([recording, baselines])) == 3
    assert seen == [0, 1, 2, 3]  # once more before the iteration that the other callback cancelled


def test_an_invalid_callback_is_refused_before_the_first_step():
    for wrong in (3, "stop", Recording):
        with pytest.raises(UserError, match=r"invalid callback=.*: must be a function"):
            train(wrong)


# Written for Baselines: it saves the policy with the best mean return, and stops with its own error, because Baselines
# ignores what a callback returns.
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
def test_a_callback_written_for_baselines_needs_only_its_import_changed(saver, tmp_path):
    names, log = {"folder": str(tmp_path), "threshold": 12.0}, Rows()
    text = FOR_BASELINES.replace("SAVE", SAVERS[saver])
    exec(text.replace("from baselines.common import tf_util", "from common import tf_util"), names)
    with pytest.raises(names["Solved"]):
        learn(gym.make("CartPole-v1"), uncompiled, callback=names["callback"], logger=log, max_iters=50, **SMALL)
    means = [row["EpRewMean"] for row in log.rows]
    assert means[-1] >= 12.0 > max(means[:-1], default=0.0)
    assert names["best"]["mean"] == means[-1]
    best = load_policy(tmp_path / "best" / "model")
    # the policy of the last iteration, with its observation statistics
    assert best.ob_rms.state()["count"] == 64 * len(means)


def test_an_unknown_name_in_locals_is_reported_with_the_available_names():
    with pytest.raises(
        UserError,
        match=r"reads locals\['env'\], which does not exist; available are pi, oldpi, seg, .*tstart; take anything else",
    ):
        train(lambda locals_, globals_: locals_["env"])


def test_a_stop_before_the_first_iteration_prints_a_warning(capsys):
    assert train(lambda locals_, globals_: True) == []
    assert "True before the first iteration, so training stopped with an untrained policy" in capsys.readouterr().err
    assert len(train(lambda locals_, globals_: locals_["iters_so_far"] == 2)) == 2
    assert capsys.readouterr().err == ""


def test_wants_to_stop_calls_every_function():
    called = []
    assert wants_to_stop([lambda: called.append(1), lambda: True, lambda: called.append(2)]) and called == [1, 2]
    assert wants_to_stop([lambda: np.mean([3.0]) > 2])  # NumPy's True is not Python's
    # callbacks written for Baselines return any value
    assert not wants_to_stop([lambda: None, lambda: 1, lambda: np.False_])
    assert as_callbacks(None) == []


@pytest.mark.parametrize(
    "answer",
    [np.array(True), np.array([True]), np.array([[True]]), tf.constant(True), tf.constant([True]), tf.Variable(True)],
    ids=repr,
)
def test_an_array_or_tensor_of_one_bool_stops(answer):
    assert is_true(answer)
    assert not is_true(np.logical_not(answer))


def test_a_compared_tensor_stops_from_either_kind_of_callback():
    class Compares(Callback):
        def after_iteration(self, training, stats):
            return tf.reduce_mean([1.0]) > 0

    assert len(train(Compares())) == 1
    assert len(train(lambda names, _: tf.reduce_mean([float(names["iters_so_far"])]) > 1)) == 2


class Model:
    """Like a Keras model: it has a dtype and a shape, and is true as a bool."""

    dtype, shape = "bool", ()


@tf.function
def graph_tensor():
    assert not is_true(tf.constant(True))  # while the function is traced
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
def test_any_other_return_value_continues(answer):
    assert not is_true(answer)
    graph_tensor()


@pytest.mark.parametrize(
    "answer", [np.array([True, False]), np.zeros(0, bool), tf.constant([[True], [True]])], ids=repr
)
def test_an_array_of_several_bools_is_refused_in_one_line(answer):
    with pytest.raises(
        UserError, match=r"a callback returned .* bools; return one bool, such as x.all\(\) or x.any\(\)"
    ) as error:
        is_true(answer)
    assert "\n" not in str(error.value)


class Lifecycle(Callback):
    """Records the order of its calls."""

    def __init__(self, fail_at=None):
        self.calls = []
        self.fail_at = fail_at

    def on_training_start(self, training):
        self.calls.append(("start", training.iters_so_far, training.progress))

    def after_iteration(self, training, stats):
        self.calls.append(("after", training.iters_so_far))
        if training.iters_so_far == self.fail_at:
            raise ArithmeticError

    def on_training_end(self, training):
        self.calls.append(("end", training.iters_so_far))

    def close(self):
        self.calls.append("close")


def test_the_lifecycle_of_a_callback_has_a_fixed_order():
    callback = Lifecycle()
    train(callback, max_iters=2)
    assert callback.calls == [("start", 0, 0.0), ("after", 1), ("after", 2), ("end", 2), "close"]


def test_a_callback_is_closed_after_a_failure_and_not_told_of_an_end():
    callback = Lifecycle(fail_at=1)
    with pytest.raises(ArithmeticError):
        train(callback)
    assert callback.calls == [("start", 0, 0.0), ("after", 1), "close"]
