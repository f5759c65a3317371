"""Sweeps: invalid arguments, failures, signals, and resuming after a kill."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import jobs
import pytest

from baselines_ppo.cli import parser as cli
from baselines_ppo.experiment.setup import resolve_config
from baselines_ppo.sweep.command import main
from baselines_ppo.sweep.directory import SweepDirectory
from baselines_ppo.sweep.plan import SweepRun

# a run that trains nothing: it writes what a sweep reads, waits while `.hold` exists, and fails if `.fail-NAME` exists
FAKE = """
import json, pathlib, signal, sys, time
from baselines_ppo.cli.parser import parse
from common.storage.failure_file import record_failure
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
typed, args = parse(sys.argv[1:])
folder = pathlib.Path(typed["run_dir"])
with (folder / "starts.txt").open("a") as file:
    file.write("resumed " if args.resume else "fresh ")
if not args.resume:
    (folder / "config.json").write_text(json.dumps({"settings": {"num_timesteps": typed["num_timesteps"], "max_iters": 0}}))
while (folder.parent / ".hold").exists():
    time.sleep(0.01)
if (folder.parent / f".fail-{folder.name}").exists():
    record_failure(1, "run.py: error: the floor is wet")
    print("run.py: error: the floor is wet\\nand MPI has more to say")
    sys.exit(1)
(folder / "progress.csv").write_text("EpRewMean,EpisodesSoFar,TimestepsSoFar,TimeElapsed\\n10.5,4,512,2.0\\n")
(folder / "policy").mkdir(exist_ok=True)
(folder / "policy/policy.safetensors").touch()
"""
WORDS = ["--env", "CartPole-v1", "--num-timesteps", "512", "--seed", "0-1"]


@pytest.fixture
def fake(tmp_path):
    path = tmp_path / "fake.py"
    path.write_text(FAKE)
    return [sys.executable, str(path)]


def started(fake, *words):
    """Start a sweep of fake runs as a separate process, which handles SIGINT even if the tests ignore it."""
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from baselines_ppo.sweep.__main__ import main; "
        "sys.exit(main(sys.argv[2:], [sys.executable, sys.argv[1]]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, fake[1], *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=jobs.ROOT,
    )


def wait_until(condition, timeout=120):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ---- invalid arguments


@pytest.mark.parametrize(
    "words, parts",
    [
        (["--seed", "0"], ["--env", "missing"]),
        (["--env", "CartPole-v1", "--clip-parm", "0.1"], ["--clip-parm", "--clip-param"]),
        (["--env", "CartPole-v1", "--job", "2"], ["--job", "--jobs"]),
        (["--env", "CartPole-v1", "Hoper-v4"], ["Hoper-v4-seed0", "'Hoper-v4'", "Hopper-v4"]),
        (
            ["--env", "CartPole-v1", "--gamma", "0.9", "1.5", "--seed", "0-1"],
            ["CartPole-v1-gamma1.5-seed0", "gamma=1.5"],
        ),
        (
            ["--env", "CartPole-v1", "--alg", "ppo", "trpo", "--clip-param", "0.1"],
            ["CartPole-v1-algtrpo-seed0", "--clip-param"],
        ),
        (["--env", "CartPole-v1", "--preset", "classic", "best"], ["'best'", "mujoco"]),
        (["--env", "CartPole-v1", "--seed", "many"], ["'many'", "an integer"]),
        (["--env", "CartPole-v1", "--seed", "4-0"], ["'4-0'", "LOW at most HIGH"]),
        (["--env", "CartPole-v1", "--seed", "0-99999999999"], ["0-99999999999", "10,000"]),
        (["--env", "CartPole-v1", "--seed", "0-999", "--hid-size", "1-100"], ["100,000 runs", "10,000"]),
        (["--env", "CartPole-v1", "--clip-param", "0-4"], ["'0-4'", "number"]),
        (["--env", "CartPole-v1", "--seed", "0-2", "1"], ["--seed", "1 twice"]),
        (["--env", "CartPole-v1", "--seed"], ["--seed"]),
        (["--env", "CartPole-v1", "--jobs", "0"], ["--jobs=0", "at least 1"]),
        (["--env", "CartPole-v1", "--jobs", "two"], ["--jobs", "'two'"]),
        (["--env", "CartPole-v1", "--ranks", "-1"], ["--ranks=-1", "at least 1"]),
        (["--env", "CartPole-v1", "--log-path", "x"], ["--run-dir", "--sweep-dir"]),
        (["--env", "CartPole-v1", "--config", "/nonexistent"], ["/nonexistent"]),
        (["--env", "CartPole-v1", "--sweep-dir", "/proc/nowhere"], ["/proc/nowhere"]),
        (["--env", "CartPole-v1", "--sweep-dir", str(jobs.ROOT)], ["no sweep.json"]),
    ],
)
def test_invalid_arguments_are_refused_in_one_line_before_anything_starts(words, parts, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("baselines_ppo.sweep: error: ")
    assert all(part in line for part in parts), line
    assert not list(tmp_path.iterdir())


def test_a_sweep_can_only_be_extended(fake, tmp_path, capsys):
    folder = tmp_path / "sweep"
    assert main([*WORDS, "--sweep-dir", str(folder)], fake) == 0
    before = (folder / "sweep.json").read_bytes()
    for words, parts in (
        (["--seed", "1-2"], ["--seed", "0 1", " 0 must remain"]),
        (["--gamma", "0.9"], ["--gamma", "--env"]),
        (["--ranks", "2"], ["--ranks 2"]),
    ):
        assert main([*words, "--sweep-dir", str(folder)], fake) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert str(folder) in line and all(part in line for part in parts), line
        assert (folder / "sweep.json").read_bytes() == before
    assert main(["--seed", "0-2", "--num-timesteps", "512", "1024", "--sweep-dir", str(folder)], fake) == 0
    assert "6 runs, 2 done" in capsys.readouterr().out
    starts = {path.parent.name: path.read_text() for path in folder.glob("*/starts.txt")}
    assert starts == {
        "CartPole-v1-seed0": "fresh ",
        "CartPole-v1-seed1": "fresh ",
        "CartPole-v1-num_timesteps512-seed2": "fresh ",
        **{f"CartPole-v1-num_timesteps1024-seed{seed}": "fresh " for seed in range(3)},
    }


def test_a_second_sweep_in_the_same_directory_is_refused(fake, tmp_path, capsys):
    first = SweepDirectory(tmp_path / "sweep")
    first.acquire()
    assert main([*WORDS, "--sweep-dir", str(first.path)], fake) == 2
    assert "locked by another" in capsys.readouterr().err


# ---- running


def test_a_dry_run_prints_command_lines_and_writes_nothing(tmp_path, capsys):
    folder = tmp_path / "sweep"
    assert main([*WORDS, "--clip-param", "0.1", "0.2", "--sweep-dir", str(folder), "--dry-run"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:3] for line in lines] == [[sys.executable, "-m", "baselines_ppo"]] * 4
    typed = [cli.parse(line[3:])[0] for line in lines]
    assert [(one["seed"], one["clip_param"]) for one in typed] == [(0, 0.1), (0, 0.2), (1, 0.1), (1, 0.2)]
    assert all(one["quiet"] and one["run_dir"].startswith(str(folder)) for one in typed)
    assert not folder.exists()


def test_settings_of_a_file_are_completed_by_the_sweeps_values(tmp_path, capsys):
    (tmp_path / "mine.json").write_text('{"env": "CartPole-v1", "gamma": 0.9, "max-iters": 5, "quiet": false}')
    assert (
        main(["--config", str(tmp_path / "mine.json"), "--num-timesteps", "512", "--gamma", "0.8", "0.7", "--dry-run"])
        == 0
    )
    typed = [cli.parse(line.split()[3:])[0] for line in capsys.readouterr().out.splitlines()]
    assert [one["gamma"] for one in typed] == [0.8, 0.7]
    assert all("max_iters" not in one and one["quiet"] and "/sweep-CartPole-v1-" in one["run_dir"] for one in typed)


def test_a_failed_run_is_reported_and_the_others_continue(fake, tmp_path, capsys):
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / ".fail-CartPole-v1-seed0").touch()
    assert main([*WORDS, "--sweep-dir", str(folder), "--jobs", "1"], fake) == 1
    out = capsys.readouterr().out
    assert "CartPole-v1-seed0: failed, status 1: run.py: error: the floor is wet\n" in out
    assert json.loads((folder / "CartPole-v1-seed1/done.json").read_text())["mean_return"] == 10.5
    assert not (folder / "CartPole-v1-seed0/done.json").exists()
    (folder / ".fail-CartPole-v1-seed0").unlink()
    assert main(["--sweep-dir", str(folder)], fake) == 0  # only the failed run is repeated
    assert [(folder / f"CartPole-v1-seed{seed}/starts.txt").read_text() for seed in (0, 1)] == [
        "fresh resumed ",
        "fresh ",
    ]


def test_a_run_with_another_limit_is_not_done(fake, tmp_path):
    folder = tmp_path / "sweep"
    assert main([*WORDS, "--sweep-dir", str(folder)], fake) == 0
    run = SweepRun("CartPole-v1-seed0", {}, resolve_config({"env": "CartPole-v1", "num_timesteps": 512}, 1, 1))
    assert SweepDirectory(folder).final_metrics(run)["steps"] == 512
    assert SweepDirectory(folder).final_metrics(replace(run, config=run.config.with_run(num_timesteps=1024))) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_runs_and_the_printed_command_resumes_them(number, fake, tmp_path):
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / ".hold").touch()
    sweep = started(fake, *WORDS, "--sweep-dir", folder, "--jobs", "1")
    wait_until((folder / "CartPole-v1-seed0/config.json").exists)
    for _ in range(2):  # both at once, as `timeout` sends them: they are one request
        sweep.send_signal(number)
    out, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 128 + number, out
    assert "stopping: 1 run will finish" in out
    assert f"resume with: python -m baselines_ppo.sweep --sweep-dir {folder} --jobs 1\n" in out
    assert not jobs.processes_naming(str(folder))
    (folder / ".hold").unlink()
    assert main(["--sweep-dir", str(folder), "--jobs", "1"], fake) == 0
    assert [(folder / f"CartPole-v1-seed{seed}/starts.txt").read_text() for seed in (0, 1)] == [
        "fresh resumed ",
        "fresh ",
    ]


def test_a_second_signal_kills_the_runs(fake, tmp_path):
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / ".hold").touch()
    ignore_sigint = tmp_path / "deaf.py"
    ignore_sigint.write_text(FAKE.replace("lambda *_: sys.exit(143)", "signal.SIG_IGN"))
    sweep = started([sys.executable, str(ignore_sigint)], *WORDS, "--sweep-dir", folder, "--jobs", "1")
    wait_until((folder / "CartPole-v1-seed0/config.json").exists)
    sweep.send_signal(signal.SIGINT)
    assert any("stopping" in line for line in sweep.stdout)
    # repeatedly, because two at once are one request
    wait_until(lambda: sweep.send_signal(signal.SIGINT) or not jobs.processes_naming(str(folder / "CartPole")))
    sweep.communicate(timeout=60)
    assert sweep.returncode == 130
    assert not jobs.processes_naming(str(folder))


def test_a_killed_sweep_is_resumed_and_keeps_finished_runs(tmp_path):
    folder = tmp_path / "sweep"
    words = ["-m", "baselines_ppo.sweep", "--sweep-dir", str(folder), "--jobs", "2"]
    settings = [
        "--env",
        "CartPole-v1",
        "--num-timesteps",
        "512",
        "--timesteps-per-actorbatch",
        "256",
        "--num-envs",
        "1",
        "--hid-size",
        "8",
        "16",
        "--seed",
        "0-1",
        "--report",
        "false",
    ]
    sweep = subprocess.Popen([sys.executable, *words, *settings], stdout=subprocess.DEVNULL, cwd=jobs.ROOT)
    first = "CartPole-v1-hid_size8-seed0"
    wait_until(lambda: len(list(folder.glob("*/done.json"))) > 1 and len(list(folder.glob("*/output.txt"))) > 2)
    done = {path: path.read_bytes() for path in folder.glob("*/done.json")}
    sweep.kill()
    sweep.wait()
    if sys.platform == "linux":
        wait_until(lambda: not jobs.processes_naming(str(folder)))  # no orphan remains
    again = jobs.run(1, *words, timeout=300)
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(list(folder.glob("*/done.json"))) == 4 and all(path.read_bytes() == data for path, data in done.items())
    assert f"plot with: python -m baselines_ppo.plot {folder}\n" in again.stdout
    returns = [float(line.split(",")[0]) for line in (folder / first / "0.0.monitor.csv").read_text().splitlines()[2:]]
    figures = json.loads((folder / first / "done.json").read_text())
    assert figures["steps"] == 512
    # float64 sums of up to 100 integers
    assert figures["mean_return"] == pytest.approx(sum(returns[-100:]) / len(returns[-100:]), rel=1e-12)
