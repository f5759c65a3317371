"""SubprocVectorEnv: equal results to environments in this process; functions and scripts that a worker cannot import."""

import functools
import multiprocessing
import os
import sys
import types

import jobs
import numpy as np
import pytest
from worker_envs import Counting, rollout

from baselines_ppo.__main__ import main
from common.errors import UserError
from common.vec_env.factory import make_vector_env
from common.vec_env.in_process import InProcessVectorEnv
from common.vec_env.subproc import SubprocVectorEnv


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
