"""Does it learn? The tasks, budgets and bars that the README promises, by the command line: train, then 100 deterministic episodes.

    python -m benchmarks.returns.learning_check                     small tasks, seeds 0 to 2
    python -m benchmarks.returns.learning_check --group long        Hopper and Walker2d with the 2017 settings, a million steps
    python -m benchmarks.returns.learning_check --group family      every objective and algorithm on CartPole; Pendulum with 300,000 steps
    python -m benchmarks.returns.learning_check --group trpo        TRPO on Hopper and Walker2d, a million steps
    python -m benchmarks.returns.learning_check --jobs 2 --out runs/learns

Finished runs are kept and not run again, so that it may be killed at any moment.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.paths import ROOT
from benchmarks.returns.training_queue import add_jobs

CARTPOLE = ("CartPole-v1", 450, "each")
# name: (task, bar, what is held to it, arguments)
SMALL = {
    "CartPole": ("CartPole-v1", 475, "each", ["--num-timesteps", "100000"]),
    "InvertedPendulum": ("InvertedPendulum-v4", 950, "each", ["--num-timesteps", "150000"]),
    "Pendulum": ("Pendulum-v1", -250, "each", ["--num-timesteps", "200000", "--gamma", "0.9"]),
}
LONG = {
    env: (env, bar, "mean", ["--preset", "ppo1", "--num-timesteps", "1000000"])
    for env, bar in (("Hopper-v4", 2000), ("Walker2d-v4", 2300))
}
FAMILY = {
    **{
        objective: (*CARTPOLE, ["--objective", objective, "--num-timesteps", "100000"])
        for objective in ("clip", "adaptive_kl", "fixed_kl")
    },
    # nothing holds this one back but its steps: with the preset's 10 epochs at 1e-3 three of six seeds fail, with these none does
    "unclipped": (
        *CARTPOLE,
        ["--objective", "unclipped", "--num-timesteps", "100000", "--optim-epochs", "3", "--optim-stepsize", "3e-4"],
    ),
    "trpo": (*CARTPOLE, ["--alg", "trpo", "--num-timesteps", "100000"]),
    "a2c": (*CARTPOLE, ["--preset", "a2c", "--num-timesteps", "300000"]),
    "reinforce": (*CARTPOLE, ["--preset", "reinforce", "--num-timesteps", "300000"]),
    # with the preset's 1024 steps of four environments some seeds settle on a policy that fails from the far starts
    "Pendulum 300k": (
        "Pendulum-v1",
        -170,
        "each",
        [
            "--num-timesteps",
            "300000",
            "--gamma",
            "0.95",
            "--num-envs",
            "8",
            "--timesteps-per-actorbatch",
            "2048",
            "--optim-epochs",
            "20",
            "--optim-stepsize",
            "5e-4",
            "--entcoeff",
            "0.01",
        ],
    ),
}
TRPO = {
    env: (env, bar, "mean", ["--alg", "trpo", "--num-timesteps", "1000000"])
    for env, bar in (("Hopper-v4", 2000), ("Walker2d-v4", 1800))
}
GROUPS = {"small": SMALL, "long": LONG, "family": FAMILY, "trpo": TRPO}


def train_and_play(name, env, words, seed, out):
    """{'train': mean of the last 100 training episodes, 'play': mean of 100 deterministic ones} of one run."""
    run_dir = out / f"{name.replace(' ', '-')}-{seed}"
    result = run_dir / "result.json"
    if result.exists():
        return json.loads(result.read_text())
    shutil.rmtree(run_dir, ignore_errors=True)
    environ = os.environ | {"TF_NUM_INTRAOP_THREADS": "1"}
    run = [sys.executable, str(ROOT / "run.py")]
    trained = subprocess.run(
        [
            *run,
            "--env",
            env,
            *words,
            "--seed",
            str(seed),
            "--run-dir",
            str(run_dir),
            "--log-interval",
            "1e9",
            "--report",
            "false",
        ],
        capture_output=True,
        text=True,
        check=True,
        env=environ,
    )
    played = subprocess.run(
        [
            *run,
            "--play",
            "--load-path",
            str(run_dir),
            "--deterministic",
            "--eval-episodes",
            "100",
            "--seed",
            "1000",
            "--json",
        ],
        capture_output=True,
        text=True,
        check=True,
        env=environ,
    )
    score = re.search(r"training episodes: (-?[\d.]+(?:e[+-]?\d+)?)", trained.stdout)[1]
    found = {"train": float(score), "play": json.loads(played.stdout)["mean"]}
    result.write_text(json.dumps(found))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--group", choices=GROUPS, default="small", help="which tasks [small]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tasks", nargs="+", help="some of the group's tasks only")
    parser.add_argument(
        "--words",
        nargs=argparse.REMAINDER,
        default=[],
        help="last: further arguments for every training, to try things out",
    )
    add_jobs(parser)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "learns")
    args = parser.parse_args()
    tasks = {name: task for name, task in GROUPS[args.group].items() if not args.tasks or name in args.tasks}
    failed = False
    with ThreadPoolExecutor(args.jobs) as pool:
        futures = {
            name: [
                pool.submit(train_and_play, name, env, [*words, *args.words], seed, args.out / args.group)
                for seed in args.seeds
            ]
            for name, (env, _, _, words) in tasks.items()
        }
        for name, (_, bar, held, _) in tasks.items():
            results = [future.result() for future in futures[name]]
            scores = [result["play" if held == "each" else "train"] for result in results]
            ok = min(scores) >= bar if held == "each" else statistics.mean(scores) >= bar
            failed |= not ok
            print(
                f"{name:18s} {held} >= {bar:>6}: {'reached' if ok else 'MISSED':8s} scores {scores}  "
                f"(play {[r['play'] for r in results]}, last 100 training {[r['train'] for r in results]})",
                flush=True,
            )
    return failed


if __name__ == "__main__":
    sys.exit(main())
