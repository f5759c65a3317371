"""Start a training on eight MPI processes (ranks) from a script, and evaluate its policy.

Command: `python examples/eight_ranks.py`, or with `--ranks 2` on a machine with few cores.

The script starts `mpirun -n 8 python -m baselines_ppo`, which is the same as `mpirun -n 8 python run.py`.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from baselines_ppo import evaluate_policy, load_policy

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--ranks", type=int, default=8, help="MPI processes; one per core is a good number")
parser.add_argument("--timesteps", type=int, default=100_000, help="environment steps of all ranks together")
parser.add_argument("--env", default="InvertedPendulum-v4", help="Gymnasium id")
parser.add_argument("--dir", type=Path, default=Path("runs/examples/eight_ranks"), help="each call adds a directory")


def main(argv=None):
    args = parser.parse_args(argv)
    run = args.dir / time.strftime("%Y%m%d-%H%M%S")
    bin_of_python = str(Path(sys.executable).parent)  # pip installs mpirun here
    mpirun = shutil.which("mpirun", path=os.pathsep.join([bin_of_python, os.environ["PATH"]]))
    if mpirun is None:
        raise SystemExit("no mpirun found: install the package with its MPI, `pip install -e .`, or an MPI library")
    command = [mpirun, "-n", str(args.ranks), sys.executable, "-m", "baselines_ppo", "--env", args.env, "--seed", "0"]
    command += ["--num-timesteps", str(args.timesteps), "--run-dir", str(run)]
    print(" ".join(command), flush=True)
    subprocess.run(command, check=True)  # a rank that fails ends the job with another status than 0
    files = sorted(path.name for path in run.glob("*.monitor.csv"))
    print(f"each rank has written the episodes of its environments: {', '.join(files)}")
    print("evaluation:", evaluate_policy(load_policy(run), args.env, episodes=20))


if __name__ == "__main__":
    main()
