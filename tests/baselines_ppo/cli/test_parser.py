"""Invalid input: one clear line, exit status 2, no traceback, before the first step."""

import os
import shlex

import jobs
import pytest


def cli(*words, **env):
    return jobs.run(1, jobs.RUN, *words, env=os.environ | {"PYTHONPATH": jobs.SUPPORT} | env)


def assert_refused(finished, *parts, status=2):
    assert finished.returncode == status, finished.stdout + finished.stderr
    lines = finished.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("run.py: error: "), finished.stderr
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize(
    "words, parts",
    [
        (["--env", "Hoper-v4"], ["'Hoper-v4'", "Hopper-v4"]),
        (["--env", "CartPole-v1", "--clip-parm", "0.1"], ["--clip-parm", "--clip-param"]),
        ([], ["--env"]),
        (["--env", "CartPole-v1", "--optim-batchsize", "4096"], ["4096", "1024"]),
        (["--env", "CartPole-v1", "--num-timesteps", "100", "--max-iters", "3"], ["num_timesteps=100", "max_iters=3"]),
        (["--env", "CartPole-v1", "--num-timesteps", "0"], ["none"]),
        (["--env", "CartPole-v1", "--num-timesteps", "-5"], ["-5", "must be positive"]),
        (["--env", "CartPole-v1", "--optim-epochs", "0"], ["optim_epochs=0"]),
        (["--env", "CartPole-v1", "--num-envs", "-1"], ["num_envs=-1"]),
        (["--env", "CartPole-v1", "--seed", "-1"], ["seed=-1"]),
        (["--env", "CartPole-v1", "--gamma", "1.5"], ["gamma=1.5"]),
        (["--env", "CartPole-v1", "--num-timesteps", "many"], ["'many'", "an integer"]),
        (["--env", "CartPole-v1", "--env-kwargs", "[1]"], ["JSON object"]),
        (["--env", "CartPole-v1", "--env-kwargs", '{"rank": 3}'], ["cannot make CartPole-v1", "'rank': 3"]),
        (
            ["--env", "PongNoFrameskip-v4", "--env-kwargs", '{"training": false}'],
            ["cannot make PongNoFrameskip-v4", "'training': False"],
        ),
        (["--env", "CartPole-v1", "--preset", "best"], ["best", "mujoco"]),
        (["--env", "CartPole-v1", "--alg", "trpo", "--clip-param", "0.1"], ["clip-param", "trpo", "--alg ppo"]),
        (["--env", "CartPole-v1", "--alg", "vpg", "--preset", "ppo1"], ["ppo1", "vpg"]),
        (["--env", "CartPole-v1", "--objective", "clipped"], ["clipped", "adaptive_kl"]),
        (["--env", "CartPole-v1", "--objective", "adaptive_kl", "--kl-min", "0.1"], ["kl_min=0.1", "both"]),
        (
            ["--env", "CartPole-v1", "--preset", "reinforce", "--baseline", "none"],
            ["baseline='none'", "standardise_adv"],
        ),
        (["--env", "CartPole-v1", "--env-threads", "0"], ["env_threads=0"]),
        (["--env", "CartPole-v1", "--film", "--report", "false"], ["--film needs --report"]),
        (["--env", "CartPole-v1", "--preset", "mujoco", "--ob-clip", "0"], ["ob_clip=0", "greater than 0"]),
        (["--env", "CartPole-v1", "--policy", "cnn", "--hid-size", "8"], ["hid-size", "cnn"]),
        (["--env", "CartPole-v1", "--max-seconds", "5", "--schedule", "linear"], ["linear", "--num-timesteps"]),
        (["--env", "CartPole-v1", "--run-dir", "/proc/nowhere"], ["/proc/nowhere"]),
        (["--resume"], ["--run-dir"]),
        (["--resume", "--run-dir", "/nonexistent"], ["/nonexistent", "no run"]),
        (["--play"], ["--load-path"]),
        (["--env", "CartPole-v1", "--json"], ["--json needs --play"]),
        (["--env", "CartPole-v1", "--load-path", "run", "--deterministic"], ["--deterministic needs --play"]),
        (["--env", "CartPole-v1", "--video", "a.gif"], ["--load-path", "--film"]),
        (["--env", "CartPole-v1", "--eval-episodes", "5"], ["--eval-episodes", "--eval-every"]),
        (["--play", "--load-path", "/nonexistent"], ["/nonexistent"]),
    ],
)
def test_refused_in_one_line(words, parts, cli_here):
    assert_refused(cli_here(*words), *parts)


@pytest.mark.parametrize(
    "words, parts",
    [
        (
            ["--batch", "per-rank", "--timesteps-per-actorbatch", "100", "--optim-batchsize", "10", "--num-envs", "64"],
            ["invalid timesteps_per_actorbatch=100: must be a multiple of 64"],
        ),
        (
            ["--alg", "trpo", "--batch", "per-rank", "--timesteps-per-batch", "100", "--num-envs", "3"],
            ["timesteps_per_batch=100", "multiple of 3"],
        ),
    ],
)
def test_an_indivisible_rollout_is_refused_before_a_directory_is_made(words, parts, tmp_path, cli_here):
    assert_refused(cli_here("--env", "CartPole-v1", "--run-dir", tmp_path / "run", *words), *parts)
    assert not (tmp_path / "run").exists()


def test_a_refused_command_prints_one_line_and_exits_with_2():
    assert_refused(cli("--env", "Hoper-v4"), "'Hoper-v4'", "Hopper-v4")
    assert_refused(cli("--play", "--load-path", __file__), __file__)
    assert_refused(cli("--env", "odd_envs:Text-v0"), "Text", "Box, Discrete")


@pytest.mark.parametrize(
    "env, parts",
    [
        ("odd_envs:Text-v0", ["Text", "Box, Discrete"]),
        ("odd_envs:Nothing-v0", ["no entries"]),
        ("CartPole-v1 --policy cnn", ["CnnPolicy needs images"]),
    ],
)
def test_unsupported_spaces_are_refused(env, parts, tmp_path, cli_here):
    assert_refused(cli_here("--env", *env.split(), "--run-dir", tmp_path / "run"), *parts)


def test_a_directory_with_another_run_is_refused_and_unchanged(tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"mine": 1}')
    assert_refused(cli("--env", "CartPole-v1", "--run-dir", tmp_path), str(tmp_path), "already contains a run")
    assert_refused(cli("--resume", "--run-dir", tmp_path), "not written by this program")
    assert config.read_text() == '{"mine": 1}'


def test_foreign_and_corrupt_policies_are_refused(tmp_path, cli_here):
    path = tmp_path / "policy.safetensors"
    for data in (b"", b"not a policy", bytes(200), b"\xff" * 1000):
        path.write_bytes(data)
        assert_refused(cli_here("--play", "--load-path", path), str(path))


def test_a_launcher_of_another_mpi_is_refused():
    # the variables of Open MPI under an MPICH library, as if its mpirun had started this process
    finished = cli("--env", "CartPole-v1", OMPI_COMM_WORLD_SIZE="8")
    assert_refused(finished, "Open MPI started 8 ranks", "sees 1")


def test_a_faulty_environment_is_named_with_its_step(tmp_path):
    finished = cli("--env", "odd_envs:Nan-v0", "--run-dir", tmp_path / "run", "--num-timesteps", "5000")
    assert_refused(finished, "not finite", "observation", "environment", "(Nan-v0)", "step 99", "iteration 0", status=1)


def test_a_run_prints_the_complete_command_that_plays_it(tmp_path, cli_here, uncompiled_here):
    done = cli_here("--env", "CartPole-v1", "--max-iters", "1", "--report", "false", "--run-dir", tmp_path / "my run")
    line = next(line for line in done.stdout.splitlines() if line.startswith("watch it: "))
    python, m, module, *words = shlex.split(line.removeprefix("watch it: "))
    assert (python, m, module) == ("python", "-m", "baselines_ppo")
    assert cli_here(*words, "--json").returncode == 0
