"""An environment that raises, or returns what cannot be learned from, ends the run on all ranks with one line that names it and its place."""

import functools
import json
import threading

import gymnasium as gym
import jobs
import numpy as np
import pytest
from environment_faults import WHAT, failure, run, words
from faulty_envs import Faulty, make
from scripted import ScriptedPolicy
from small_policies import uncompiled

from baselines_ppo import learn, load_policy
from common.errors import EnvError
from common.rollouts.collector import Collector
from common.rollouts.evaluation import evaluate
from common.vec_env.in_process import InProcessVectorEnv
from common.vec_env.subproc import SubprocVectorEnv


@pytest.mark.parametrize("fault", WHAT)
def test_what_went_wrong_is_named_with_its_place(fault):
    error = failure(InProcessVectorEnv([make(fault, k) for k in range(3)]))
    assert error.environment == 1 and WHAT[fault] in str(error)
    step = 9 if "reset" in fault else 5  # of the second segment: the 30th step, the 26th
    assert str(error).startswith("environment 1 ") and f", at step {step} of the segment; " in str(error)


class Whole(gym.Env):
    """Returns the observation `x` at each step, although its space is uint8."""

    observation_space, action_space = gym.spaces.Box(0, 255, (2,), np.uint8), Faulty.action_space

    def __init__(self, x):
        self.x = x

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.uint8), {}

    def step(self, action):
        return self.x, 0.0, False, False, {}


@pytest.mark.parametrize(
    "x, expected",
    [
        (np.array([3.0, 0.5]), "of dtype float64 with 0.5, which"),
        (np.array([256, 0]), "of dtype int64 with 256, which"),
        (np.float32([0, -1]), "of dtype float32 with -1.0, which"),
    ],
)
def test_an_observation_that_the_integers_of_its_space_cannot_hold_is_refused(x, expected):
    collector = Collector(InProcessVectorEnv([Whole(x)]), ScriptedPolicy(Whole), 4)
    with pytest.raises(EnvError, match=f"returned an observation {expected} its space Box"):
        collector.collect(np.random.default_rng(0))


def test_whole_numbers_of_another_dtype_are_taken_in():
    seg = Collector(InProcessVectorEnv([Whole(np.array([3.0, 255.0]))]), ScriptedPolicy(Whole), 4).collect(
        np.random.default_rng(0)
    )
    np.testing.assert_array_equal(seg["ob"][1:, 0], [[3, 255]] * 3)


def test_the_place_is_the_same_in_workers_and_in_threads():
    for fault in ("raises_in_step", "ob_shape"):
        here = failure(InProcessVectorEnv([make(fault, k) for k in range(4)]))
        there = SubprocVectorEnv(functools.partial(make, fault), 4, 2)
        told = failure(there)
        there.close()
        assert str(told) == str(here)
        assert (
            ("the simulator broke" in (told.trace or ""))
            == ("the simulator broke" in (here.trace or ""))
            == (fault == "raises_in_step")
        )
    env = InProcessVectorEnv([make("none", 0), make("none", 0), make("none", 0), make("raises_in_step", 1)])
    collector = Collector(env, ScriptedPolicy(Faulty), 40 * 4, threads=2)
    with pytest.raises(EnvError, match="^environment 3 raised RuntimeError in step: .* at step 25 of the segment"):
        collector.collect(np.random.default_rng(0))


def test_an_environment_without_monitor_and_a_vector_env_of_gymnasiums():
    for fault in ("rew_none", "raises_in_step", "ob_text"):
        assert (WHAT[fault] if fault != "rew_none" else "a reward that is not finite: nan") in str(
            failure(InProcessVectorEnv([Faulty(fault)]))
        )
    env = gym.vector.SyncVectorEnv(
        [functools.partial(Faulty, "raises_in_step")] * 2, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP
    )
    error = failure(env)
    assert str(error).startswith(
        "one of the 2 environments of SyncVectorEnv raised RuntimeError in step: the simulator broke"
    )


def test_a_dict_that_lacks_a_part_is_refused():
    class Parts(Faulty):
        observation_space = gym.spaces.Dict({"near": gym.spaces.Box(0, 1, (2,)), "far": gym.spaces.Discrete(3)})

        def _observed(self):
            whole = {"near": np.zeros(2, np.float32), "far": 1}
            return (
                whole
                if self.total < 7
                else {"near": np.zeros(self.total - 4, np.float32), "far": 1}
                if self.fault == "long"
                else {"near": 0}
            )

    for fault, part in (("lacks", "KeyError: 'far'"), ("long", "ValueError: 6 numbers, not 5")):
        collector = Collector(InProcessVectorEnv([Parts(fault)]), ScriptedPolicy(Parts), 20)
        with pytest.raises(
            EnvError, match="^environment 0 returned the observation .* at step 6 of the segment"
        ) as caught:
            collector.collect(np.random.default_rng(0))
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "fault", ["ob_list", "ob_float64", "ends_again", "ends_change", "end_numpy", "end_int", "end_array", "end_none"]
)
def test_what_can_be_cast_and_episodes_of_one_step_are_collected(fault):
    collector = Collector(InProcessVectorEnv([make(fault, 1)]), ScriptedPolicy(Faulty), 40)
    seg = collector.collect(np.random.default_rng(0))
    assert seg["ob"].dtype == np.float32 and np.isfinite(seg["ob"]).all()
    if fault == "ends_again":
        assert seg["ep_lens"] == [10, 10, 6] + [1] * 14
    elif fault == "ends_change":  # the info of a reset is ignored
        assert seg["ep_lens"] == [10, 10, 6] + [2] * 7
    else:
        assert seg["ep_lens"] == [10] * 4 and seg["truncated"].sum() == 4 and not seg["terminated"].any()


def test_a_fault_in_the_first_segment_does_not_wait_for_what_still_compiles(monkeypatch):
    compiled, waited = threading.Event(), []
    monkeypatch.setattr(
        "common.rollouts.processor.SegmentProcessor.compile", lambda self: waited.append(compiled.wait(60))
    )
    with pytest.raises(EnvError, match="the simulator broke, at step 5 of the segment of iteration 0"):
        learn(Faulty("raises_in_step", at=5), uncompiled, timesteps_per_actorbatch=64, max_iters=1)
    assert waited == []
    compiled.set()


def test_a_run_ends_with_the_traceback_one_line_and_its_checkpoints(tmp_path):
    finished = run(1, *words("raises_in_step", tmp_path))
    lines = [line for line in finished.stderr.splitlines() if "could not be closed" not in line]
    assert (
        finished.returncode == 1
        and lines[0].startswith("Traceback")
        and lines[-2] == "RuntimeError: the simulator broke"
    )
    # 91st step of both environments: 27th of the third segment of 32
    assert lines[-1].startswith(
        "run.py: error: environment 0 (Faulty-v0) raised RuntimeError in step: the simulator broke, "
        "at step 26 of the segment of iteration 2; "
    )
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == [
        "ckpt-00000001.safetensors",
        "ckpt-00000002.safetensors",
    ]
    load_policy(tmp_path / "checkpoints/ckpt-00000002.safetensors")
    assert "an environment could not be closed: RuntimeError: nor can it be closed" in finished.stderr


@pytest.mark.parametrize(
    "fault, more, ranks",
    [pytest.param("raises_in_reset", [], 4, marks=pytest.mark.slow), ("ob_nan", ["--env-workers", "2"], 2)],
)
def test_one_rank_of_several_ends_the_job_and_says_which_it_is(fault, more, ranks, tmp_path):
    finished = run(ranks, *words(fault, tmp_path, *more, on_rank=1))
    said = [line for line in finished.stderr.splitlines() if line.startswith("rank ")]
    assert finished.returncode != 0 and len(said) == 1
    assert (
        said[0].startswith("rank 1 on host ")
        and ": environment 0 (Faulty-v0) " in said[0]
        and WHAT[fault] in said[0]
        and "of iteration 2; " in said[0]
    )
    load_policy(tmp_path / "checkpoints/ckpt-00000002.safetensors")


def test_an_evaluation_leaves_nothing_with_its_environment():
    env = make("none", 0)
    assert evaluate(ScriptedPolicy(Faulty), env, 5, stochastic=True)[1].tolist() == [10] * 5 and env.episodes == []


@pytest.mark.parametrize("fault", WHAT)
def test_an_evaluation_says_what_went_wrong_too(fault):
    with pytest.raises(EnvError) as caught:
        evaluate(ScriptedPolicy(Faulty), make(fault, 1), 5, stochastic=True)
    assert WHAT[fault].split(":")[0] in str(caught.value)


def test_the_environment_of_eval_every_is_named_and_the_checkpoint_before_it_is_kept(tmp_path):
    finished = run(1, *words("raises_in_step", tmp_path, "--eval-every", "2", "--eval-episodes", "10"))
    lines = [line for line in finished.stderr.splitlines() if "could not be closed" not in line]
    assert (
        finished.returncode == 1
        and lines[0].startswith("Traceback")
        and lines[-2] == "RuntimeError: the simulator broke"
    )
    assert lines[-1].startswith(
        "run.py: error: the environment of --eval-every (Faulty-v0) raised RuntimeError in step: the simulator broke"
    )
    policy = load_policy(tmp_path)  # of the checkpoint, for there is no final one
    played = run(
        1,
        jobs.RUN,
        "--play",
        "--load-path",
        str(tmp_path),
        "--eval-episodes",
        "20",
        "--env",
        "faulty_envs:Faulty-v0",
        "--env-kwargs",
        json.dumps({"fault": "rew_nan", "at": 90}),
    )
    assert policy.ac_space == Faulty.action_space and played.returncode == 1
    assert (
        played.stderr
        == "run.py: error: the environment (Faulty-v0) returned a reward that is not finite, at step 0 of episode 9; fix it\n"
    )


def test_a_fault_in_the_last_evaluation_costs_neither_the_policy_nor_the_reason(tmp_path, cli_here, uncompiled_here):
    # 32 steps in training, 100 in the evaluation
    more = (
        "--eval-every",
        "50",
        "--eval-episodes",
        "10",
        "--max-iters",
        "1",
    )
    finished = cli_here(*words("raises_in_step", tmp_path, *more)[1:])
    lines = [line for line in finished.stderr.splitlines() if "could not be closed" not in line]
    assert finished.returncode == 1 and lines[0].startswith("Traceback")
    assert lines[-1].startswith(
        "run.py: error: the environment of --eval-every (Faulty-v0) raised RuntimeError in step: the simulator broke"
    )
    load_policy(tmp_path / "policy/policy.safetensors")
