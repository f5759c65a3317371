"""Add a surrogate objective, and compare it with clipping: several seeds each, means with 95 % intervals.

Command: `python examples/new_objective.py`

The objective is that of Simple Policy Optimization (https://arxiv.org/abs/2401.16025): instead of clipping the ratio,
it subtracts a parabola, so that its maximum is at the edge of the clip range.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from baselines_ppo import evaluate_policy, learn, register_objective
from baselines_ppo.plot.significance import summary_statistics, welch

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--timesteps", type=int, default=6_000, help="environment steps of each training")
parser.add_argument("--seeds", type=int, default=5, help="trainings with each objective")
parser.add_argument("--dir", type=Path, default=Path("runs/examples/new_objective"), help="for all files")


def simple(ratio, atarg, kl, c):
    """r A - |A| (r - 1)^2 / (2 epsilon), [N]; it is maximised."""
    return ratio * atarg - tf.abs(atarg) * tf.square(ratio - 1) / (2 * c.clip_param)


def main(argv=None):
    args = parser.parse_args(argv)
    register_objective("simple", simple)
    settings = {"max_timesteps": args.timesteps, "timesteps_per_actorbatch": 512, "optim_stepsize": 1e-3}
    scores = {}
    for objective in ("clip", "simple"):
        policies = [
            learn("CartPole-v1", "MlpPolicy", objective=objective, seed=seed, **settings) for seed in range(args.seeds)
        ]
        scores[objective] = np.array([evaluate_policy(pi, "CartPole-v1", episodes=20).mean for pi in policies])
        found = summary_statistics(scores[objective])
        interval = np.array(found["interval"], float).round(1)
        print(f"{objective:7} mean {found['mean']:.1f}, 95 % interval {interval}, seeds {scores[objective]}")
    test = welch("clip", scores["clip"], "simple", scores["simple"])
    interval = np.array(test["interval"], float).round(1)  # nan if no test is possible: all scores are equal
    print(
        f"{test['a']} - {test['b']}: {test['difference']:.1f}, 95 % interval {interval}, p {test['p']}, Welch's t-test"
    )
    args.dir.mkdir(parents=True, exist_ok=True)
    (args.dir / "scores.json").write_text(json.dumps({name: x.tolist() for name, x in scores.items()}))
    print(f"the scores are in {args.dir / 'scores.json'}")


if __name__ == "__main__":
    main()
