"""A short run whose files tests corrupt, and the check that a resume refuses it."""

import forged

from baselines_ppo.__main__ import main

WORDS = (
    "--env Pendulum-v1 --hid-size 8 --timesteps-per-actorbatch 64 --optim-batchsize 32 --optim-epochs 1 --num-envs 1 "
    "--max-iters 2 --checkpoint-every 1 --keep-checkpoints 1 --report false --quiet"
)
CHECKPOINT = "checkpoints/ckpt-00000002.safetensors"


def train_short(directory):
    """Train for two iterations and return the run's directory."""
    assert main([*WORDS.split(), "--run-dir", str(directory)]) == 0
    return directory


def refuse_resume(directory, capsys, *parts):
    """Check that `--resume` ends with status 2 and one line that contains `parts`, and that no file changes."""
    before = forged.contents(directory.parent)
    capsys.readouterr()
    assert main(["--run-dir", str(directory), "--resume", "--max-iters", "3"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and len(lines[0]) < 1000 and all(part in lines[0] for part in parts), lines
    assert forged.contents(directory.parent) == before
