"""The peers, at our settings: Stable-Baselines3, SBX, and a loop with CleanRL's settings. A process of its own, started by measurements.py.

Prints one JSON object: {"history": [[timesteps, seconds since training began], one an update]}.
"""

import argparse
import json
import os
import time

MUJOCO = {"batch_size": 64, "n_epochs": 10, "learning_rate": 3e-4, "clip_range": 0.2, "ent_coef": 0.0}
ATARI = {"batch_size": 256, "n_epochs": 4, "learning_rate": 2.5e-4, "clip_range": 0.1, "ent_coef": 0.01, "vf_coef": 0.5}
ATARI_STEPS = 128  # of each environment, an update
SAMPLES = 2048  # an update, over all environments


def limit_threads(threads):
    """Before PyTorch and JAX are imported: `threads` each. JAX sizes its pool by NPROC, and Eigen's matrices use it unless told not to."""
    os.environ["OMP_NUM_THREADS"] = os.environ["NPROC"] = str(threads)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"


def import_sbx():
    """SBX's PPO.

    SBX asks for tfp-nightly, we for tensorflow-probability: both install the same folder, and where the released one came last it
    looks for a name that JAX 0.7 moved.
    """
    import jax

    if not hasattr(jax.interpreters.xla, "pytype_aval_mappings"):
        jax.interpreters.xla.pytype_aval_mappings = jax._src.core.pytype_aval_mappings
    from sbx import PPO

    return PPO


def run_stable_baselines(library, env_id, num_envs, iterations, on_update):
    """Train by Stable-Baselines3 or SBX, which have one interface.

    Args:
        library: 'sb3' or 'sbx'.
        env_id: a Gymnasium id; an Atari game gets SB3's own wrappers, four frames and its CnnPolicy.
        num_envs: environments, one after the other in this process, as is SB3's default and sooner done than one process each.
        iterations: updates.
        on_update: function (timesteps), called after each.
    """
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_atari_env, make_vec_env
    from stable_baselines3.common.vec_env import VecFrameStack

    class Clock(BaseCallback):
        """An update ends where the next rollout starts, or the training does."""

        def _on_step(self):
            return True

        def _on_rollout_start(self):
            if self.num_timesteps:
                on_update(self.num_timesteps)

        def _on_training_end(self):
            on_update(self.num_timesteps)

    algorithm = {"sb3": lambda: PPO, "sbx": import_sbx}[library]()
    if "NoFrameskip" in env_id:
        env = VecFrameStack(make_atari_env(env_id, num_envs, env_kwargs={"disable_env_checker": True}), 4)
        policy, settings = "CnnPolicy", ATARI | {"n_steps": ATARI_STEPS}
    else:
        env = make_vec_env(env_id, num_envs, env_kwargs={"disable_env_checker": True})
        policy, settings = (
            "MlpPolicy",
            MUJOCO | {"n_steps": SAMPLES // num_envs},
        )  # its MlpPolicy has two layers of 64 tanh, as ours
    model = algorithm(policy, env, gamma=0.99, gae_lambda=0.95, seed=0, device="cpu", **settings)
    model.learn(iterations * settings["n_steps"] * num_envs, callback=Clock())


def run_cleanrl(env_id, num_envs, iterations, on_update):
    """Train by our loop with CleanRL's settings; arguments as above."""
    from benchmarks.throughput.cleanrl_loop import train

    train(env_id, num_envs, SAMPLES // num_envs, iterations, on_update)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=("sb3", "sbx", "cleanrl"))
    parser.add_argument("env_id")
    parser.add_argument("--num-envs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=10)
    args = parser.parse_args()
    limit_threads(args.threads)
    import gymnasium as gym
    import torch

    torch.set_num_threads(args.threads)
    gym.logger.min_level = gym.logger.ERROR
    if "NoFrameskip" in args.env_id:
        import ale_py

        gym.register_envs(ale_py)
    history, began = [], time.perf_counter()

    def on_update(timesteps):
        history.append((timesteps, time.perf_counter() - began))

    if args.library == "cleanrl":
        run_cleanrl(args.env_id, args.num_envs, args.iterations, on_update)
    else:
        run_stable_baselines(args.library, args.env_id, args.num_envs, args.iterations, on_update)
    print(json.dumps({"history": history}))


if __name__ == "__main__":
    main()
