"""Train, kill the training, resume it, and compare the result with a training that was not interrupted.

Command: `python examples/resume.py`

Exact: after a kill, or with `--resume exact`, `--resume` gives bit-identical weights on the same machine and versions.
Not exact: `--resume` after Ctrl-C, and `learn(load_path=run)`, a new run from trained weights with a new optimizer.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from baselines_ppo import evaluate_policy, load_policy

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--timesteps", type=int, default=50_000, help="environment steps of each training")
parser.add_argument("--dir", type=Path, default=Path("runs/examples/resume"), help="each call adds a directory")


def main(argv=None):
    args = parser.parse_args(argv)
    directory = args.dir / time.strftime("%Y%m%d-%H%M%S")
    program = [sys.executable, "-m", "baselines_ppo", "--quiet"]
    start = [*program, "--env", "CartPole-v1", "--seed", "0", "--num-timesteps", str(args.timesteps)]
    start += ["--checkpoint-every", "2", "--report", "false", "--run-dir"]

    process = subprocess.Popen([*start, directory / "killed"])
    while process.poll() is None and not list(directory.glob("killed/checkpoints/ckpt-*.safetensors")):
        time.sleep(0.01)
    process.kill()
    print(f"ended with status {process.wait()} after the first checkpoint (-9: killed)")
    subprocess.run([*program, "--run-dir", directory / "killed", "--resume"], check=True)
    subprocess.run([*start, directory / "uninterrupted"], check=True)

    resumed, uninterrupted = (load_policy(directory / run) for run in ("killed", "uninterrupted"))
    other = uninterrupted.state()
    equal = all(np.array_equal(value, other[name]) for name, value in resumed.state().items())
    print(f"the weights of both runs are {'bit-identical' if equal else 'different'}")
    print("resumed:", evaluate_policy(resumed, "CartPole-v1", episodes=20))
    print(f"the runs are in {directory}")


if __name__ == "__main__":
    main()
