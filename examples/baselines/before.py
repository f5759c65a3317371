"""A training script for OpenAI Baselines' PPO1, before it is ported; `after.py` is the same script after.

Command: `python examples/baselines/before.py`
It needs Baselines, TensorFlow 1 and old Gym, which do not run on current versions of Python.
"""

import argparse
from pathlib import Path

import numpy as np
from baselines.common import tf_util as U
from baselines.common.cmd_util import make_mujoco_env
from baselines.ppo1 import mlp_policy, pposgd_simple

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--timesteps", type=int, default=50_000, help="environment steps of the training")
parser.add_argument("--dir", type=Path, default=Path("runs/examples/baselines/before"), help="for all files")


def policy_fn(name, ob_space, ac_space):
    return mlp_policy.MlpPolicy(name=name, ob_space=ob_space, ac_space=ac_space, hid_size=64, num_hid_layers=2)


def report(locals_, globals_):
    if locals_["rewbuffer"]:
        print(f"{locals_['timesteps_so_far']:,} steps: mean return {np.mean(locals_['rewbuffer']):.1f}")


def main(argv=None):
    args = parser.parse_args(argv)
    U.make_session(num_cpu=1).__enter__()
    env = make_mujoco_env("InvertedPendulum-v2", seed=0)
    pposgd_simple.learn(
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
    )
    env.close()
    U.save_state(str(args.dir / "model"))


if __name__ == "__main__":
    main()
