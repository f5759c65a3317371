"""Invariant 5: a run that is killed and resumed is bit-identical to an uninterrupted one."""

import csv
import json
import shutil
from pathlib import Path

import jobs
import pytest

from common.runs.checkpoint_store import FORMAT
from common.storage.array_files import load_arrays

# Pendulum has episodes of 200 steps; the first ones end early. Checkpoints truncate them, every three iterations. An
# iteration has 128 steps of each of the eight environments on one rank, and 512 of two on each of four ranks.
WORDS = [
    "--env",
    "Pendulum-v1",
    "--preset",
    "mujoco",
    "--timesteps-per-actorbatch",
    "1024",
    "--optim-batchsize",
    "128",
    "--optim-epochs",
    "2",
    "--hid-size",
    "16",
    "--batch",
    "per-rank",
    "--max-iters",
    "20",
    "--checkpoint-every",
    "3",
    "--schedule",
    "linear",
    "--report",
    "false",
]


# further state of other algorithms: beta, step size, Adam of the value function, complete episodes
OTHERS = {
    "adaptive_kl": [
        "--preset",
        "ppo1",
        "--objective",
        "adaptive_kl",
        "--kl-target",
        "0.001",
        "--timesteps-per-actorbatch",
        "128",
    ],
    "separate_fit": ["--vf-iters", "2", "--timesteps-per-actorbatch", "128", "--optim-batchsize", "64"],
    "trpo": ["--alg", "trpo", "--timesteps-per-batch", "128"],
    "reinforce": ["--preset", "reinforce", "--timesteps-per-actorbatch", "128"],
    "a2c": ["--preset", "a2c"],
}


def rows(path):
    """The rows of a log without the column of times."""
    lines = list(csv.reader(Path(path).read_text().splitlines()[1 if path.name.endswith("monitor.csv") else 0 :]))
    clock = next(i for i, name in enumerate(lines[0]) if name in ("TimeElapsed", "t"))
    return [row[:clock] + row[clock + 1 :] for row in lines]


@pytest.mark.parametrize("ranks, program", [(1, jobs.RUN), (4, jobs.RUN_UNCOMPILED)], ids=["1", "4"])
def test_killed_and_resumed_run_is_bit_identical(ranks, program, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert jobs.run(ranks, program, *WORDS, "--run-dir", whole).returncode == 0

    def in_iteration_eight():
        log = broken / "progress.csv"
        return log.exists() and len(log.read_text().splitlines()) > 8

    jobs.kill_when(ranks, [program, *WORDS, "--run-dir", broken], broken, in_iteration_eight)
    assert not (broken / "policy").exists()
    resumed = jobs.run(ranks, program, "--run-dir", broken, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "continuing from ckpt-" in resumed.stdout
    assert (whole / "policy/policy.safetensors").read_bytes() == (broken / "policy/policy.safetensors").read_bytes()
    # everything that training reads again: Adam's moments, return scaling, the last 100 episodes
    arrays = [load_arrays(run / "checkpoints/ckpt-00000018.safetensors", FORMAT)[0] for run in (whole, broken)]
    assert arrays[0].keys() == arrays[1].keys()
    assert all(arrays[0][name].tobytes() == arrays[1][name].tobytes() for name in arrays[0])
    assert len(arrays[0]["rewbuffer"]) > 8
    monitors = sorted(path.name for path in whole.glob("*.monitor.csv"))
    assert len(monitors) == 8
    for name in ("progress.csv", *monitors):
        assert rows(whole / name) == rows(broken / name), name
    # an environment's first episode ends after k/8 of the time limit. On four ranks there are 7.7 limits between
    # checkpoints, and the last of the eight environments has one complete episode less
    counts = [len(rows(whole / name)) - 1 for name in monitors]
    assert min(counts) > 5 and (ranks == 1 or counts[-1] < counts[0])


@pytest.mark.parametrize("name", OTHERS)
def test_killed_and_resumed_run_of_other_algorithms_is_bit_identical(name, tmp_path, capsys, uncompiled_here):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    words = ["--env", "Pendulum-v1", "--hid-size", "8", "--max-iters", "12", "--checkpoint-every", "3", *OTHERS[name]]
    assert jobs.main_here(*words, "--run-dir", whole) == 0
    shutil.copytree(whole, broken)
    # as it was on disk in iteration 8, and logs beyond it
    for newer in (
        "ckpt-00000009.safetensors",
        "ckpt-00000012.safetensors",
    ):
        (broken / "checkpoints" / newer).unlink()
    (broken / "policy/policy.safetensors").unlink()
    assert jobs.main_here("--run-dir", broken, "--resume") == 0
    assert "continuing from ckpt-00000006" in capsys.readouterr().out
    assert (whole / "policy/policy.safetensors").read_bytes() == (broken / "policy/policy.safetensors").read_bytes()
    assert rows(whole / "progress.csv") == rows(broken / "progress.csv")


def test_finished_run_resumes_to_a_new_limit_and_reports_it(tmp_path, cli_here, uncompiled_here):
    run_dir = tmp_path / "run"
    assert cli_here(*WORDS, "--run-dir", run_dir).returncode == 0
    longer = cli_here("--run-dir", run_dir, "--resume", "--max-iters", "24")
    assert longer.returncode == 0, longer.stderr
    assert "max_iters is now 24, was 20" in longer.stdout
    assert len(rows(run_dir / "progress.csv")) == 1 + 24
    config = json.loads((run_dir / "config.json").read_text())
    assert config["settings"]["max_iters"] == 24 and config["ranks"] == 1
    # as chosen
    assert config["settings"]["averaging"] == "auto" and config["averaging"] == {"policy and value": "gather"}
    refused = cli_here("--run-dir", run_dir, "--resume", "--gamma", "0.9")
    assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1
    assert "gamma=0.9" in refused.stderr and "0.99" in refused.stderr


def test_corrupt_checkpoint_is_skipped_with_a_message_and_refused_if_there_is_no_other(
    tmp_path, cli_here, uncompiled_here
):
    run_dir = tmp_path / "run"
    assert cli_here(*WORDS, "--run-dir", run_dir).returncode == 0
    newest, *others = sorted((run_dir / "checkpoints").iterdir(), reverse=True)
    data = newest.read_bytes()
    newest.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    goes_on = cli_here("--run-dir", run_dir, "--resume", "--hid-size", "16", "--max-iters", "21")
    assert goes_on.returncode == 0, goes_on.stderr
    assert f"skipped a corrupt checkpoint ({newest} is damaged" in goes_on.stdout
    assert f"renamed to {newest.name}.damaged" in goes_on.stdout and newest.with_name(f"{newest.name}.damaged").exists()
    assert f"continuing from {others[0].name}" in goes_on.stdout
    for path in (run_dir / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    logs = (run_dir / "progress.csv").read_bytes()
    refused = cli_here("--run-dir", run_dir, "--resume")
    assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1
    assert "ckpt-" in refused.stderr and "truncated" in refused.stderr
    assert (run_dir / "progress.csv").read_bytes() == logs


def test_exact_resume_is_refused_if_the_only_checkpoint_is_forced_which_is_kept(tmp_path, cli_here, uncompiled_here):
    run_dir = tmp_path / "run"
    words = [*WORDS[: WORDS.index("--max-iters")], "--max-iters", "2", "--report", "false"]
    assert cli_here(*words, "--run-dir", run_dir).returncode == 0
    policy = (run_dir / "policy/policy.safetensors").read_bytes()
    refused = cli_here("--run-dir", run_dir, "--resume", "exact", "--max-iters", "3")
    assert (
        refused.returncode == 2
        and len(refused.stderr.splitlines()) == 1
        and "no scheduled checkpoint yet" in refused.stderr
    )
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == ["ckpt-00000002-forced.safetensors"]
    assert (run_dir / "policy/policy.safetensors").read_bytes() == policy
