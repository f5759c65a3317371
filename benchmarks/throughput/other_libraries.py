"""Trainings by other libraries, with our settings. Started by measurements.py.

Prints one JSON object: {"history": [[timesteps, seconds since training began], ...]}, one entry per update.
"""

import argparse
import json
import os
import time
from collections.abc import Callable

MUJOCO = {"batch_size": 64, "n_epochs": 10, "learning_rate": 3e-4, "clip_range": 0.2, "ent_coef": 0.0}
ATARI = {"batch_size": 256, "n_epochs": 4, "learning_rate": 2.5e-4, "clip_range": 0.1, "ent_coef": 0.01, "vf_coef": 0.5}
ATARI_STEPS = 128  # per environment and update
SAMPLES = 2048  # per update, over all environments


def limit_threads(threads: int) -> None:
    """Limit PyTorch and JAX to `threads` each; call it before they are imported.

    JAX sizes its thread pool by NPROC, and Eigen uses that pool for matrix products unless XLA_FLAGS disables it.
    """
    os.environ["OMP_NUM_THREADS"] = os.environ["NPROC"] = str(threads)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"


def import_sbx() -> type:
    """SBX's PPO class.

    SBX requires tfp-nightly, this project tensorflow-probability. Both install the same directory. If the release was installed last, it
    looks for a name that JAX 0.7 moved.
    """
    import jax

    if not hasattr(jax.interpreters.xla, "pytype_aval_mappings"):
        jax.interpreters.xla.pytype_aval_mappings = jax._src.core.pytype_aval_mappings
    from sbx import PPO

    return PPO


def run_stable_baselines(
    library: str, env_id: str, num_envs: int, iterations: int, on_update: Callable[[int], None]
) -> None:
    """Train with Stable-Baselines3 or SBX, which have the same interface.

    Args:
        library: 'sb3', 'sbx', or 'sb3-trpo': TRPO of sb3-contrib, with its defaults and this number of samples.
        env_id: Gymnasium id; an Atari game gets SB3's wrappers, four frames and its CnnPolicy.
        num_envs: environments, stepped in this process: SB3's default, and faster here than one process for each.
        iterations: updates.
        on_update: function (timesteps), called after each update.
    """
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_atari_env, make_vec_env
    from stable_baselines3.common.vec_env import VecFrameStack

    class Clock(BaseCallback):
        """Reports an update when the next rollout starts or the training ends."""

        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            if self.num_timesteps:
                on_update(self.num_timesteps)

        def _on_training_end(self) -> None:
            on_update(self.num_timesteps)

    algorithm = {"sb3": lambda: PPO, "sbx": import_sbx, "sb3-trpo": import_trpo}[library]()
    if "NoFrameskip" in env_id:
        env = VecFrameStack(make_atari_env(env_id, num_envs, env_kwargs={"disable_env_checker": True}), 4)
        policy, settings = "CnnPolicy", ATARI | {"n_steps": ATARI_STEPS}
    else:
        env = make_vec_env(env_id, num_envs, env_kwargs={"disable_env_checker": True})
        # SB3's MlpPolicy has two layers of 64 tanh units, as ours
        policy, settings = "MlpPolicy", {"n_steps": SAMPLES // num_envs} | ({} if library == "sb3-trpo" else MUJOCO)
    model = algorithm(policy, env, gamma=0.99, gae_lambda=0.95, seed=0, device="cpu", **settings)
    model.learn(iterations * settings["n_steps"] * num_envs, callback=Clock())


def import_trpo() -> type:
    """TRPO of sb3-contrib."""
    from sb3_contrib import TRPO

    return TRPO


def run_envpool(env_id: str, num_envs: int, threads: int, iterations: int, on_update: Callable[[int], None]) -> None:
    """Train with this package on EnvPool's environments, stepped by `threads`; other arguments as in `run_stable_baselines`."""
    from common.runtime.tf_import import import_tensorflow

    import_tensorflow(threads=threads)
    import baselines_ppo
    from benchmarks.throughput.envpool_env import EnvPoolVectorEnv

    env = EnvPoolVectorEnv(env_id, num_envs, threads)
    baselines_ppo.learn(
        env,
        "MlpPolicy",
        timesteps_per_actorbatch=SAMPLES,
        optim_batchsize=MUJOCO["batch_size"],
        optim_epochs=MUJOCO["n_epochs"],
        optim_stepsize=MUJOCO["learning_rate"],
        clip_param=MUJOCO["clip_range"],
        entcoeff=MUJOCO["ent_coef"],
        schedule="linear",
        max_timesteps=iterations * SAMPLES,
        seed=0,
        callback=lambda found, _: on_update(found["timesteps_so_far"]) if found["timesteps_so_far"] else None,
    )


def run_cleanrl(env_id: str, num_envs: int, iterations: int, on_update: Callable[[int], None]) -> None:
    """Train with our loop with CleanRL's settings; arguments as in `run_stable_baselines`."""
    from benchmarks.throughput.cleanrl_loop import train

    train(env_id, num_envs, SAMPLES // num_envs, iterations, on_update)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=("sb3", "sbx", "cleanrl", "envpool", "sb3-trpo"))
    parser.add_argument("env_id")
    parser.add_argument("--num-envs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=10)
    args = parser.parse_args()
    limit_threads(args.threads)
    import gymnasium as gym

    gym.logger.min_level = gym.logger.ERROR
    if args.library != "envpool":
        import torch

        torch.set_num_threads(args.threads)
    if "NoFrameskip" in args.env_id:
        import ale_py

        gym.register_envs(ale_py)
    history: list[tuple[int, float]] = []
    began = time.perf_counter()

    def on_update(timesteps: int) -> None:
        history.append((timesteps, time.perf_counter() - began))

    if args.library == "cleanrl":
        run_cleanrl(args.env_id, args.num_envs, args.iterations, on_update)
    elif args.library == "envpool":
        run_envpool(args.env_id, args.num_envs, args.threads, args.iterations, on_update)
    else:
        run_stable_baselines(args.library, args.env_id, args.num_envs, args.iterations, on_update)
    print(json.dumps({"history": history}))


if __name__ == "__main__":
    main()
