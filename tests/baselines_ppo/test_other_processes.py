"""`learn` in other processes: with warnings as errors, without docstrings, in threads, under pytest.

It prints nothing, and its result is bit-identical.
"""

import subprocess
import sys

import jobs

THREADS = """
import threading
import gymnasium as gym
import numpy as np
from baselines_ppo import MlpPolicy, learn
from common.policies.base import Policy

Policy.xla = False


def train(env, seed):
    return learn(gym.make(env), MlpPolicy, max_iters=2, timesteps_per_actorbatch=64, optim_batchsize=32, seed=seed).state()


def test_trainings_side_by_side_are_each_alone():
    found = {}
    for env in ("CartPole-v1", "Pendulum-v1"):
        gym.make(env).close()  # two threads of Python 3.13 that import one package of Gymnasium's at a time see it half imported

    def keep(*which):
        found[which] = train(*which)
    threads = [threading.Thread(target=keep, args=which) for which in (("CartPole-v1", 0), ("CartPole-v1", 1), ("Pendulum-v1", 0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for which in (("CartPole-v1", 0), ("CartPole-v1", 1), ("Pendulum-v1", 0)):
        for name, x in train(*which).items():
            np.testing.assert_array_equal(found[which][name], x)
"""
CHECK = (
    "import gymnasium as gym; from baselines_ppo import learn, MlpPolicy; "
    "learn(gym.make('CartPole-v1'), MlpPolicy, max_iters=2, timesteps_per_actorbatch=64, optim_batchsize=32)"
)


def python(*words, cwd=None):
    environ = {name: x for name, x in jobs.support_path().items() if not name.startswith(("TF_", "PYTEST_"))}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=cwd, env=environ, timeout=300)


def test_learn_is_silent_where_warnings_are_errors_and_without_docstrings(tmp_path):
    done = python("-OO", "-X", "dev", "-W", "error", "-c", CHECK, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_trainings_in_threads_under_pytest_with_warnings_as_errors_are_each_alone(tmp_path):
    (tmp_path / "test_threads.py").write_text(THREADS)
    done = python(
        "-W", "error", "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "-q", "test_threads.py", cwd=tmp_path
    )
    assert done.returncode == 0 and "1 passed" in done.stdout and "warning" not in done.stdout and done.stderr == "", (
        done.stdout + done.stderr
    )


def test_what_other_threads_write_while_tensorflow_is_imported_is_not_lost(capfd):
    import os

    from common.runtime.tf_import import STARTUP_MESSAGE, stderr_on_error_only

    with stderr_on_error_only(STARTUP_MESSAGE):
        os.write(
            2,
            b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\nmine\n"
            b"I0000 00:00:1795979424.063963   22334 cudart_stub.cc:31] Could not find cuda drivers\n",
        )
    assert capfd.readouterr().err == "mine\n"
