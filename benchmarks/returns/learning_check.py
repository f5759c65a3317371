"""Learning check: trains by the command line, then evaluates 100 deterministic episodes and compares with a minimum score.

    python -m benchmarks.returns.learning_check                     small tasks, seeds 0 to 2
    python -m benchmarks.returns.learning_check --group long        Hopper and Walker2d with the 2017 settings, 1M steps
    python -m benchmarks.returns.learning_check --group family      every objective and algorithm on CartPole; Pendulum, 300,000 steps
    python -m benchmarks.returns.learning_check --group trpo        TRPO on Hopper and Walker2d, 1M steps
    python -m benchmarks.returns.learning_check --jobs 2 --out runs/learns

Finished runs are kept and not repeated, so the command can be killed at any moment.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

from benchmarks.paths import ROOT
from benchmarks.returns.command_line import add_jobs_argument


class Check(NamedTuple):
    """One task with its minimum score.

    Attributes:
        env: Gymnasium id.
        minimum: score.
        criterion: 'each': every seed, evaluated; 'mean': mean over seeds of the last 100 training episodes.
        arguments: of the command line.
    """

    env: str
    minimum: float
    criterion: Literal["each", "mean"]
    arguments: Sequence[str]


def cartpole(*arguments: str, steps: int = 100_000) -> Check:
    """A check on CartPole-v1."""
    return Check("CartPole-v1", 450, "each", ["--num-timesteps", str(steps), *arguments])


def million(env: str, minimum: float, *arguments: str) -> Check:
    """A check with a million steps."""
    return Check(env, minimum, "mean", [*arguments, "--num-timesteps", "1000000"])


SMALL = {
    "CartPole": Check("CartPole-v1", 475, "each", ["--num-timesteps", "100000"]),
    "InvertedPendulum": Check("InvertedPendulum-v4", 950, "each", ["--num-timesteps", "150000"]),
    "Pendulum": Check("Pendulum-v1", -250, "each", ["--num-timesteps", "200000", "--gamma", "0.9"]),
}
LONG = {env: million(env, minimum, "--preset", "ppo1") for env, minimum in (("Hopper-v4", 2000), ("Walker2d-v4", 2300))}
FAMILY = {
    **{objective: cartpole("--objective", objective) for objective in ("clip", "adaptive_kl", "fixed_kl")},
    # Only the step size limits this objective: with the 10 epochs at 1e-3 of the preset three of six seeds fail, with these none.
    "unclipped": cartpole("--objective", "unclipped", "--optim-epochs", "3", "--optim-stepsize", "3e-4"),
    "trpo": cartpole("--alg", "trpo"),
    "a2c": cartpole("--preset", "a2c", steps=300_000),
    "reinforce": cartpole("--preset", "reinforce", steps=300_000),
    # With the 1024 steps of four environments of the preset some policies fail from distant initial states.
    "Pendulum 300k": Check(
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
TRPO = {env: million(env, minimum, "--alg", "trpo") for env, minimum in (("Hopper-v4", 2000), ("Walker2d-v4", 1800))}
GROUPS = {"small": SMALL, "long": LONG, "family": FAMILY, "trpo": TRPO}
SCORE = re.compile(r"training episodes: (-?[\d.]+(?:e[+-]?\d+)?)")  # in the summary that a run prints


def train_and_evaluate(name: str, env: str, arguments: Sequence[str], seed: int, out: Path) -> dict[str, float]:
    """{'train': mean of the last 100 training episodes, 'play': mean of 100 deterministic episodes} of one run."""
    run_dir = out / f"{name.replace(' ', '-')}-{seed}"
    result = run_dir / "result.json"
    if result.exists():
        return json.loads(result.read_text())
    shutil.rmtree(run_dir, ignore_errors=True)
    trained = _run(
        *("--env", env, *arguments, "--seed", str(seed), "--run-dir", str(run_dir)),
        *("--log-interval", "1e9", "--report", "false"),
    )
    played = _run(
        *(
            "--play",
            "--load-path",
            str(run_dir),
            "--deterministic",
            "--eval-episodes",
            "100",
            "--seed",
            "1000",
            "--json",
        )
    )
    score = SCORE.search(trained)
    if score is None:
        raise RuntimeError(f"{run_dir}: the output of the training has no score")
    found = {"train": float(score[1]), "play": json.loads(played)["mean"]}
    result.write_text(json.dumps(found))
    return found


def _run(*arguments: str) -> str:
    """Standard output of run.py."""
    command = [sys.executable, str(ROOT / "run.py"), *arguments]
    env = os.environ | {"TF_NUM_INTRAOP_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", choices=GROUPS, default="small", help="group of tasks [small]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tasks", nargs="+", help="tasks of the group [all]")
    parser.add_argument(
        "--words",
        nargs=argparse.REMAINDER,
        default=[],
        help="further arguments of every training, for experiments; must come last",
    )
    add_jobs_argument(parser)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "learns")
    args = parser.parse_args()
    checks = {name: check for name, check in GROUPS[args.group].items() if not args.tasks or name in args.tasks}
    failed = False
    with ThreadPoolExecutor(args.jobs) as pool:
        futures = {
            name: [
                pool.submit(
                    train_and_evaluate, name, check.env, [*check.arguments, *args.words], seed, args.out / args.group
                )
                for seed in args.seeds
            ]
            for name, check in checks.items()
        }
        for name, check in checks.items():
            results = [future.result() for future in futures[name]]
            scores = [result["play" if check.criterion == "each" else "train"] for result in results]
            value = min(scores) if check.criterion == "each" else statistics.mean(scores)
            passed = value >= check.minimum
            failed |= not passed
            print(
                f"{name:18s} {check.criterion} >= {check.minimum:>6}: {'reached' if passed else 'MISSED':8s} scores {scores}  "
                f"(play {[r['play'] for r in results]}, last 100 training {[r['train'] for r in results]})",
                flush=True,
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
