"""Without POSIX features policies are trained, loaded, plotted and exported; a resume is refused with the reason."""

import errno
import json
import subprocess
import sys

import jobs
import pytest

from common.runtime import memory, os_features

CODE = """
import json, os, sys
import gymnasium as gym, matplotlib.pyplot, rich.live, tensorflow as tf
sys.path.insert(0, {support!r})
import no_posix
import numpy as np
from baselines_ppo import MlpPolicy, export_saved_model, learn, load_policy
from baselines_ppo.plot.__main__ import main as plot
from baselines_ppo.__main__ import main
from common.policies.base import Policy
Policy.xla = False
learn(gym.make("CartPole-v1"), MlpPolicy, timesteps_per_actorbatch=64, optim_batchsize=32, max_iters=3, checkpoint_every=2, seed=0, run_dir="run")
pi, env = load_policy("run"), gym.make("CartPole-v1")
ob, ended = env.reset(seed=0)[0], False
while not ended:
    ob, _, terminated, truncated, _ = env.step(pi.act(False, ob)[0])
    ended = terminated or truncated
words = ["--env", "CartPole-v1", "--max-iters", "1", "--timesteps-per-actorbatch", "64", "--optim-batchsize", "32", "--num-envs", "1", "--quiet"]
statuses = [plot(["run", "--out", "plot.png"]), main([*words, "--run-dir", "cli", "--report", "false"]),
            main(["--run-dir", "cli", "--resume", "--max-iters", "2"])]
export_saved_model(pi, "exported")
print(json.dumps([statuses, sorted(os.listdir("run/checkpoints")), os.path.exists("exported/saved_model.pb"), sorted(os.listdir("cli"))]))
"""


def test_everything_works_without_posix_features(tmp_path):
    code = CODE.format(support=str(jobs.ROOT / "tests/support/faults"))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
        env=jobs.support_path() | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    statuses, checkpoints, exported, cli_files = json.loads(done.stdout.splitlines()[-1])
    assert statuses == [0, 0, 0]
    assert checkpoints == ["ckpt-00000002.safetensors", "ckpt-00000003-forced.safetensors"]
    assert exported
    assert {"policy", "progress.csv", "ranks"} <= {*cli_files}
    warning = "cannot be locked (this system has no flock()); make sure that no other run uses it"
    assert [line for line in done.stderr.splitlines() if "cannot be locked" in line] == [
        f"run directory run {warning}",
        f"run.py: run directory cli {warning}",
        f"run.py: run directory cli {warning}",
    ]


@pytest.mark.parametrize("missing", ["fcntl", "resource"])
def test_each_module_may_be_missing_alone(missing, tmp_path, monkeypatch):
    for module in (os_features, memory):
        monkeypatch.setattr(module, missing, None, raising=False)
    with open(tmp_path / "file", "wb") as file:
        if missing == "fcntl":
            with pytest.raises(OSError) as raised:
                os_features.lock(file)
            assert raised.value.errno == errno.ENOSYS
        else:
            os_features.lock(file)
            assert os_features.max_open_files() is None and memory.memory_limit() > 2**30
            monkeypatch.delattr("os.sysconf")
            monkeypatch.setattr(memory, "CGROUP_MEMBERSHIP", tmp_path / "missing")
            assert memory.memory_limit() is None


def test_only_signals_that_the_system_has_are_returned():
    assert os_features.signals("SIGINT", "SIGNEVER", "SIGTERM") == [2, 15]
