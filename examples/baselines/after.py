"""The script of `before.py` after it is ported: other imports and environment, no session, one seed.

Command: `python examples/baselines/after.py`
"""

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np

from baselines_ppo import evaluate_policy, load_policy, mlp_policy, pposgd_simple

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--timesteps", type=int, default=50_000, help="environment steps of the training")
parser.add_argument("--dir", type=Path, default=Path("runs/examples/baselines/after"), help="for all files")


def policy_fn(name, ob_space, ac_space):
    return mlp_policy.MlpPolicy(name=name, ob_space=ob_space, ac_space=ac_space, hid_size=64, num_hid_layers=2)


def report(locals_, globals_):
    if locals_["rewbuffer"]:
        print(f"{locals_['timesteps_so_far']:,} steps: mean return {np.mean(locals_['rewbuffer']):.1f}")


def main(argv=None):
    args = parser.parse_args(argv)
    env = gym.make("InvertedPendulum-v4")
    pi = pposgd_simple.learn(
        env,
        policy_fn,
        max_timesteps=args.timesteps,
        timesteps_per_actorbatch=2048,
        clip_param=0.2,
        entcoeff=0.0,
        optim_epochs=10,
        optim_stepsize=3e-4,
        optim_batchsize=64,
        gamma=0.99,
        lam=0.95,
        schedule="linear",
        callback=report,
        seed=0,
    )
    env.close()
    pi.save(args.dir / "model")
    print("evaluation:", evaluate_policy(load_policy(args.dir / "model"), "InvertedPendulum-v4", episodes=20))


if __name__ == "__main__":
    main()
