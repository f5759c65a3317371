"""SubprocVectorEnv: equal results to environments in this process; errors, hangs and exits of worker processes."""

import functools
import gc
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import gymnasium as gym
import jobs
import numpy as np
import pytest

from baselines_ppo.__main__ import main
from common.errors import EnvError, UserError
from common.runtime.thread_pool import NamedThreadPool
from common.vec_env.factory import make_vector_env
from common.vec_env.in_process import InProcessVectorEnv
from common.vec_env.subproc import SubprocVectorEnv, WorkerDiedError


class Counting(gym.Env):
    """Observes its index and its step, as a Dict; episodes of 3 + k steps, every second one truncated."""

    observation_space = gym.spaces.Dict({"k": gym.spaces.Discrete(8), "steps": gym.spaces.Box(0, 99, (2,), np.float32)})
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, k):
        self.k, self.episodes = k or 0, 0

    def observe(self):
        return {"k": self.k, "steps": np.full(2, self.steps, np.float32)}

    def reset(self, *, seed=None, options=None):
        self.steps, self.episodes = 0, self.episodes + 1
        return self.observe(), {}

    def step(self, action):
        self.steps += 1
        end = self.steps == 3 + self.k
        return self.observe(), float(action[0]), end and self.episodes % 2 == 0, end and self.episodes % 2 == 1, {}


# a simulator in a separate process may raise EOFError, as the pipe of a worker does when it closes
FAULTS = {"step": ZeroDivisionError, "pipe": EOFError}


class Faulty(Counting):
    """Fails in environment 1: in the constructor for the fault "make", otherwise in `step`."""

    def __init__(self, fault, k):
        super().__init__(k)
        if fault == "make" and k == 1:
            raise UserError("environment 1 cannot be made")
        self.fault = fault if k == 1 else None

    def step(self, action):
        if self.fault in FAULTS:
            raise FAULTS[self.fault]("the simulator broke")
        return super().step(action)


def rollout(env, steps, actions):
    """Return the results of `steps` calls of `step_into` and the monitors' episodes."""
    space = env.single_observation_space
    boxes = isinstance(space, gym.spaces.Box)
    obs = (
        np.zeros((steps + 1, env.num_envs, *space.shape), space.dtype)
        if boxes
        else np.empty((steps + 1, env.num_envs), object)
    )
    rew, ended = np.zeros((steps, env.num_envs)), []
    for t in range(steps):
        ended += [
            (t, k, ob, terminated, truncated)
            for k, ob, _, terminated, truncated in env.step_into(actions[t], obs, t + 1, rew, t)
        ]
    return obs[1:], rew, ended, [monitor.take_episodes() for monitor in env.monitors]


def test_observations_episodes_and_monitor_files_equal_those_of_one_process(tmp_path):
    found = []
    actions = np.random.default_rng(0).integers(0, 2, (200, 5)).tolist()
    for workers in (0, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        env = make_vector_env("CartPole-v1", 5, monitor_dir=folder, workers=workers)
        first, _ = env.reset(seed=[3, 1, 4, 1, 5])
        obs, rew, ended, episodes = rollout(env, 200, actions)
        env.close()
        files = [
            [line.split(",")[:2] for line in path.read_text().splitlines()[2:]] for path in sorted(folder.iterdir())
        ]
        found.append(
            (
                first.tolist(),
                obs.tolist(),
                rew.tolist(),
                [(*end[:2], end[2].tolist(), *end[3:]) for end in ended],
                episodes,
                files,
            )
        )
    assert found[0] == found[1]
    assert len(found[1][-1]) == 5 and sum(map(len, found[1][-1])) == sum(map(len, found[1][-2])) > 10


def test_dict_observations_and_truncations_equal_those_of_one_process():
    actions = np.random.default_rng(0).uniform(-1, 1, (12, 3, 1)).astype(np.float32)
    found = []
    for env in (InProcessVectorEnv([Counting(k) for k in range(3)]), SubprocVectorEnv(Counting, 3, 2)):
        first, _ = env.reset(seed=[0, 1, 2])
        obs, rew, ended, episodes = rollout(env, 12, actions)
        env.close()
        assert episodes == []
        found.append(
            (
                [[(ob["k"], ob["steps"].tolist()) for ob in row] for row in obs],
                rew.tolist(),
                first["k"].tolist(),
                first["steps"].tolist(),
                [(t, k, ob["k"], ob["steps"].tolist(), *rest) for t, k, ob, *rest in ended],
            )
        )
    assert found[0] == found[1]
    assert {end[-2:] for end in found[1][-1]} == {(True, False), (False, True)}


def test_run_with_workers_gives_the_same_policy_as_without(tmp_path):
    before = {*multiprocessing.active_children()}
    argv = [
        "--env",
        "CartPole-v1",
        "--max-iters",
        "3",
        "--num-envs",
        "4",
        "--timesteps-per-actorbatch",
        "128",
        "--hid-size",
        "8",
        "--optim-epochs",
        "1",
        "--report",
        "false",
    ]
    for workers in (0, 2):
        assert main([*argv, "--env-workers", str(workers), "--run-dir", str(tmp_path / str(workers))]) == 0
    policies = [(tmp_path / str(workers) / "policy/policy.safetensors").read_bytes() for workers in (0, 2)]
    assert policies[0] == policies[1]
    assert not {*multiprocessing.active_children()} - before


def test_user_error_in_a_worker_is_raised_in_the_parent():
    with pytest.raises(UserError, match="environment 1 cannot be made"):
        SubprocVectorEnv(functools.partial(Faulty, "make"), 2, 2)


SCRIPT = """
import gymnasium as gym
from common.vec_env.subproc import SubprocVectorEnv
from common.errors import UserError
{guard}
    def make(k):
        return gym.make("CartPole-v1")
    try:
        SubprocVectorEnv(make, 4, 2)
    except UserError as error:
        print(error)
"""


@pytest.mark.parametrize(
    "guard, expected",
    [
        (
            "if True:",
            'script.py starts environments in separate processes, which import it again; put its code under `if __name__ == "__main__":`',
        ),
        (
            'if __name__ == "__main__":',
            "make cannot be found by another process (Can't get attribute 'make' on <module '__mp_main__' from ",
        ),
    ],
)
def test_script_that_a_worker_cannot_import_gets_a_hint(guard, expected, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT.format(guard=guard))
    finished = jobs.run(1, "script.py", cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(jobs.ROOT)})
    assert (
        expected in finished.stdout
        and len(finished.stdout.splitlines()) == 1
        and finished.stderr == ""
        and finished.returncode == 0
    )


def test_function_that_cannot_be_sent_to_a_worker_is_refused_before_one_is_started(monkeypatch):
    before = {*multiprocessing.active_children()}
    for make in (lambda k: Counting(k), functools.partial(Counting, open(os.devnull))):
        with pytest.raises(
            UserError,
            match="^make is .* which another process cannot receive [(].*[)]; use a function of a module, or a functools.partial",
        ):
            SubprocVectorEnv(make, 2, 2)
    main = types.ModuleType("__main__")  # of an interactive session, or `python -c`
    main.make = types.FunctionType(
        (lambda k: Counting(k)).__code__, {"Counting": Counting, "__name__": "__main__"}, "make"
    )
    main.make.__qualname__, main.make.__module__ = "make", "__main__"
    monkeypatch.setitem(sys.modules, "__main__", main)
    with pytest.raises(
        UserError,
        match="^make is from an interactive session or standard input, which another process cannot import; put it into a file$",
    ):
        SubprocVectorEnv(main.make, 2, 2)
    main.__file__ = "/nowhere/<stdin>"
    with pytest.raises(UserError, match="^this program is from an interactive session or standard input"):
        SubprocVectorEnv(Counting, 2, 2)
    assert not {*multiprocessing.active_children()} - before


def test_other_workers_exit_if_one_cannot_be_started(monkeypatch):
    before, process, started = {*multiprocessing.active_children()}, multiprocessing.get_context("spawn").Process, []
    start = process.start

    def start_one(self):
        if started:
            raise BlockingIOError("no more processes")
        started.append(start(self))

    monkeypatch.setattr(process, "start", start_one)
    with pytest.raises(BlockingIOError, match="no more processes"):
        SubprocVectorEnv(Counting, 4, 2)
    gc.collect()
    assert started and not {*multiprocessing.active_children()} - before


@pytest.mark.parametrize("fault", FAULTS)
def test_exception_in_step_is_raised_with_its_traceback_and_environment(fault):
    env = SubprocVectorEnv(functools.partial(Faulty, fault), 4, 2)
    env.reset(seed=[0, 1, 2, 3])
    with pytest.raises(
        EnvError, match=f"^environment 1 raised {FAULTS[fault].__name__} in step: the simulator broke; "
    ) as caught:
        rollout(env, 1, np.zeros((1, 4, 1)))
    assert "in step\n    raise FAULTS[self.fault]" in str(caught.value.__cause__)
    env.close()


def test_killed_worker_is_reported_with_its_environments():
    env = SubprocVectorEnv(Counting, 4, 2)
    env.reset()
    os.kill(env.workers[1].process.pid, signal.SIGKILL)
    with pytest.raises(
        WorkerDiedError,
        match="process of environments 2 to 3 died of signal SIGKILL; was it killed, or out of memory",
    ):
        rollout(env, 1, np.zeros((1, 4, 1)))
    env.close()


@pytest.mark.parametrize(
    "fault, expected",
    [
        ("crash", "died of signal SIGSEGV; its stacks are above"),
        ("exit", "raised SystemExit in step: 3"),
        ("exit at once", "exited with status 4; does the environment end its process"),
    ],
)
def test_worker_killed_by_its_environment_prints_its_stacks_and_the_signal_is_reported(fault, expected, capfd):
    env = make_vector_env("failing_ranks:FailsOnOneRank-v0", 1, workers=1, env_kwargs={"fault": fault, "at": 1})
    env.reset(seed=[0])
    with pytest.raises(EnvError, match=expected):
        rollout(env, 1, [[0]])
    env.close()
    assert bool(
        re.search(r"^Fatal Python error: Segmentation fault$(.|\n)* in crash$", capfd.readouterr().err, re.M)
    ) == (fault == "crash")


HANGS = {"fault": "hang", "at": 3}


def test_hanging_worker_reports_its_line_and_is_killed_after_the_others_close(monkeypatch, capfd):
    monkeypatch.setattr("common.vec_env.subproc.CLOSE_TIMEOUT", 0.5)
    before = {*multiprocessing.active_children()}
    env = make_vector_env("failing_ranks:FailsOnOneRank-v0", 3, workers=3, env_kwargs=HANGS)
    env.reset(seed=[0, 1, 2])
    pool = NamedThreadPool(["stepping"])
    pool.submit_all([lambda: rollout(env, 3, [[0, 0, 0]] * 3)])
    where = rf"in the process of environment 0 \(pid {env.workers[0].process.pid}\), at .*failing_ranks\.py:\d+ in hang\(\) \(stepping\)"
    deadline = time.monotonic() + 10
    while not re.fullmatch(where, found := pool.describe_location()):  # until the step in which they hang
        assert time.monotonic() < deadline, found
    start = time.monotonic()
    env.close()
    assert time.monotonic() - start < 3 * 0.5 and not {*multiprocessing.active_children()} - before
    assert "environment 2 did not close within 0.5 s: killing the process" in capfd.readouterr().err


def test_hanging_worker_exits_a_few_seconds_after_its_parent(tmp_path):
    script = (
        "from common.vec_env.factory import make_vector_env\n"
        f"env = make_vector_env('failing_ranks:FailsOnOneRank-v0', 1, workers=1, env_kwargs={HANGS | {'at': 1}})\n"
        "env.reset(seed=[0]); env.workers[0].send('step', [0]); print(env.workers[0].process.pid, flush=True); env.workers[0].receive()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], env=jobs.support_path(), stdout=subprocess.PIPE)
    child = Path(f"/proc/{int(parent.stdout.readline())}")
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10
    while child.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_workers_exit_with_their_parent_and_not_before(number, tmp_path):
    argv = [
        sys.executable,
        jobs.RUN_UNCOMPILED,
        "--env",
        "CartPole-v1",
        "--num-envs",
        "4",
        "--env-workers",
        "2",
        "--run-dir",
        str(tmp_path / "run"),
    ]
    parent = subprocess.Popen(
        argv,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # ignored if the tests run under nohup
    )
    log = tmp_path / "run/progress.csv"
    deadline = time.monotonic() + 120
    while not (log.exists() and len(log.read_text().splitlines()) > 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    children = [int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()]
    assert len(children) >= 2
    if number != signal.SIGKILL:
        os.killpg(parent.pid, number)  # as a launcher does: also to the workers, whose steps the parent still needs
    else:
        os.kill(parent.pid, number)
    assert parent.wait(60) == (-number if number == signal.SIGKILL else 128 + number)
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
