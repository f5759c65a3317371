"""Ctrl-C in a `learn` that was called from Python, and what its run's folder keeps when something else ends it."""

import signal
import threading
import time

import gymnasium as gym
import numpy as np
import pytest
from small_policies import uncompiled

from baselines_ppo import Callback, Interrupted, UserError, learn, load_policy, vpg
from baselines_ppo.experiment.interrupts import STOPPING
from common.runs.checkpoint_store import checkpoint_paths

SMALL = {"timesteps_per_actorbatch": 64, "optim_batchsize": 32, "optim_epochs": 1, "max_iters": 1000, "seed": 0}


@pytest.fixture(autouse=True)
def handled():
    """Python's own handler, which a process that was started in the background has not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def train(env=None, **kwargs):
    return learn(env or gym.make("CartPole-v1"), uncompiled, **SMALL | kwargs)


class Acts(gym.Wrapper):
    """CartPole that does something in one of its steps."""

    def __init__(self, act, at=130):
        super().__init__(gym.make("CartPole-v1"))
        self.act, self.left = act, at

    def step(self, action):
        self.left -= 1
        if self.left == 0:
            self.act()
        return super().step(action)


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


def once_in_iteration(number, act=ctrl_c):
    """A callback of Baselines' that acts before one iteration."""
    return lambda locals_, _: act() if locals_["iters_so_far"] == number else None


def newest_checkpoint(folder):
    return checkpoint_paths(folder)[0].name


def same(one, other):
    for name, x in one.state().items():
        np.testing.assert_array_equal(other.state()[name], x, err_msg=name)


class After(Callback):
    """Ctrl-C after the third iteration."""

    def after_iteration(self, training, stats):
        if training.iters_so_far == 3:
            ctrl_c()


@pytest.mark.parametrize("where", ["step", "before", "after"])
def test_ctrl_c_stops_learn_after_its_iteration_and_the_exception_has_the_policy(where, tmp_path, capfd):
    env, callback = {"step": (Acts(ctrl_c), None), "before": (None, once_in_iteration(3)), "after": (None, After())}[
        where
    ]
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as stop:
        train(env, callback=callback, run_dir=tmp_path / "run")
    assert isinstance(stop.value, Interrupted) and signal.getsignal(signal.SIGINT) is before
    assert (
        str(stop.value) == "Ctrl-C stopped learn after 3 iterations, 192 steps; "
        f"the policy is this exception's pi, and in {tmp_path / 'run'}; "
        "load_policy and learn(load_path=...) can read it"
    )
    assert capfd.readouterr().err == f"{STOPPING}\n"
    same(stop.value.pi, load_policy(tmp_path / "run"))
    assert newest_checkpoint(tmp_path / "run") == "ckpt-00000003-forced.safetensors"
    if where == "step":
        same(train(max_iters=3), stop.value.pi)
        train(load_path=tmp_path / "run", max_iters=1)


def test_exception_has_the_policy_without_a_run_directory_and_for_another_algorithm():
    with pytest.raises(Interrupted) as stop:
        vpg.learn(Acts(ctrl_c), uncompiled, timesteps_per_actorbatch=64, vf_batchsize=32, max_iters=1000, seed=0)
    assert str(stop.value).endswith("the policy is this exception's pi")
    assert stop.value.pi.act(False, np.zeros(4, np.float32))[0] in (0, 1)


def test_ctrl_c_in_the_last_iteration_is_not_lost(tmp_path):
    with pytest.raises(Interrupted, match="after 3 iterations"):
        train(Acts(ctrl_c, at=150), max_iters=3, run_dir=tmp_path / "run", checkpoint_every=3)
    assert newest_checkpoint(tmp_path / "run") == "ckpt-00000003.safetensors"


def test_second_ctrl_c_stops_immediately_and_the_last_iteration_is_saved(tmp_path, monkeypatch):
    monkeypatch.setattr("common.runtime.stop_signals.SIGNAL_DEBOUNCE_SECONDS", 0.05)

    def twice():
        ctrl_c()
        ctrl_c()  # a shell's and the kernel's are one
        time.sleep(0.1)
        ctrl_c()

    with pytest.raises(KeyboardInterrupt) as stop:
        train(Acts(twice), run_dir=tmp_path / "run")
    assert not isinstance(stop.value, Interrupted) and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert newest_checkpoint(tmp_path / "run") == "ckpt-00000002-forced.safetensors"


def test_handler_of_the_user_is_not_replaced(tmp_path):
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append("mine"))
    try:
        train(callback=once_in_iteration(1), max_iters=2)
        own = signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == ["mine"] and own is not before


def test_handler_that_a_callback_has_installed_is_not_replaced():
    def mine(*_):
        """Another handler."""

    try:
        train(callback=once_in_iteration(1, lambda: signal.signal(signal.SIGINT, mine)), max_iters=2)
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_learn_in_a_thread_does_not_change_signal_handlers():
    found = []
    thread = threading.Thread(
        target=lambda: found.append(
            train(max_iters=2, callback=lambda *_: found.append(signal.getsignal(signal.SIGINT)))
        )
    )
    thread.start()
    thread.join()
    assert found[:2] == [signal.default_int_handler] * 2
    same(train(max_iters=2), found[-1])


def test_ctrl_c_in_a_learn_within_a_callback_stops_both(tmp_path):
    def inner():
        train(callback=once_in_iteration(1), run_dir=tmp_path / "inner")

    with pytest.raises(Interrupted) as stop:
        train(callback=once_in_iteration(2, inner), run_dir=tmp_path / "outer")
    assert (
        "after 1 iterations, 64 steps" in str(stop.value)
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    assert newest_checkpoint(tmp_path / "inner") == "ckpt-00000001-forced.safetensors"
    assert newest_checkpoint(tmp_path / "outer") == "ckpt-00000002-forced.safetensors"


def breaks():
    raise ZeroDivisionError("mine")


@pytest.mark.parametrize("where, error", [("callback", ZeroDivisionError), ("step", Exception)])
def test_exception_in_user_code_loses_no_complete_iteration(where, error, tmp_path):
    env, callback = (Acts(breaks), None) if where == "step" else (None, once_in_iteration(2, breaks))
    with pytest.raises(error) as raised:
        train(env, callback=callback, run_dir=tmp_path / "run")
    path = tmp_path / "run/checkpoints/ckpt-00000002-forced.safetensors"
    assert raised.value.__notes__ == [
        f"the last iteration is saved in {path}; load_policy and learn(load_path=...) can read it"
    ]
    same(train(max_iters=2), load_policy(tmp_path / "run"))


def test_exception_within_an_update_leaves_no_checkpoint_of_an_incomplete_update(tmp_path, monkeypatch):
    from baselines_ppo.pposgd_simple import PPOUpdate

    update = PPOUpdate.__call__

    def half(self, seg, rng, progress):
        update(self, seg, rng, progress)
        raise MemoryError

    monkeypatch.setattr(
        PPOUpdate,
        "__call__",
        lambda self, seg, rng, progress: (half if progress > 0 else update)(self, seg, rng, progress),
    )
    with pytest.raises(MemoryError):
        train(max_iters=4, run_dir=tmp_path / "run")
    assert checkpoint_paths(tmp_path / "run") == []


def test_full_disk_does_not_hide_the_original_exception(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("common.runs.checkpoint_store.save_arrays", full)
    with pytest.raises(ZeroDivisionError) as raised:
        train(callback=once_in_iteration(2, breaks), run_dir=tmp_path / "run")
    assert not hasattr(raised.value, "__notes__")
    with pytest.raises(UserError, match="no policy found"):
        load_policy(tmp_path / "run")
