"""Steps per second of an environment alone, without learning, on one or more processes. Started by measurements.py.

With --physics, of the environment's physics alone: `mj_step` with its number of frames for each step, the same actions and the same initial
states. That is the limit of every training on this task. Imports neither TensorFlow nor this project; prints one JSON object,
{"steps_per_second": sum over the processes}.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse  # noqa: E402
import json  # noqa: E402
import multiprocessing  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

ACTIONS = 1 << 14  # drawn in advance and reused
WARM_UP = 1000  # steps before the measurement
CLOCK_INTERVAL = 50  # steps between readings of the clock
Run = Callable[[int, int], None]  # (number of steps, number of the first step)


def step_environment(env: Any, actions: list[Any], seed: int) -> Run:
    """Return a function that steps an environment, and resets it where an episode ends."""
    env.reset(seed=seed)

    def run(count: int, offset: int) -> None:
        for i in range(offset, offset + count):
            _, _, terminated, truncated, _ = env.step(actions[i % ACTIONS])
            if terminated or truncated:
                env.reset()

    return run


def step_physics(env: Any, actions: list[Any], seed: int) -> Run:
    """Return a function that steps the physics of a MuJoCo environment, from the states where its episodes began."""
    import mujoco

    simulated = env.unwrapped
    model, data, frames = simulated.model, simulated.data, simulated.frame_skip
    env.reset(seed=seed)
    starts: dict[int, tuple[Any, Any]] = {0: (data.qpos.copy(), data.qvel.copy())}
    for i, action in enumerate(actions[:-1]):
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
            starts[i + 1] = data.qpos.copy(), data.qvel.copy()

    def run(count: int, offset: int) -> None:
        for i in range(offset, offset + count):
            if start := starts.get(i % ACTIONS):
                mujoco.mj_resetData(model, data)
                data.qpos[:], data.qvel[:] = start
                mujoco.mj_forward(model, data)
            data.ctrl[:] = actions[i % ACTIONS]
            mujoco.mj_step(model, data, frames)

    return run


def measure(env_id: str, physics: bool, seed: int, seconds: float, start: Any, results: Any) -> None:
    """Step one environment with Gaussian actions and put its steps per second into `results`.

    Args:
        env_id: Gymnasium id.
        physics: step its physics alone.
        seed: of the actions and of the environment.
        seconds: duration, from the moment when all processes are ready.
        start: barrier of all processes.
        results: queue.
    """
    import gymnasium as gym
    import numpy as np

    gym.logger.min_level = gym.logger.ERROR
    env = gym.make(env_id, disable_env_checker=True)
    space = env.action_space
    actions = np.random.default_rng(seed).standard_normal((ACTIONS, *space.shape)).astype(space.dtype)
    if physics:  # as MuJoCo limits the controls of these tasks itself, clipping would only take time
        run = step_physics(env, list(actions), seed)
    else:
        run = step_environment(env, list(actions), seed)
    run(WARM_UP, 0)
    start.wait()
    steps, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        run(CLOCK_INTERVAL, steps)
        steps += CLOCK_INTERVAL
    results.put(steps / elapsed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("env_id")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--physics", action="store_true")
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(args.processes), context.Queue()
    processes = [
        context.Process(target=measure, args=(args.env_id, args.physics, seed, args.seconds, start, results))
        for seed in range(args.processes)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise SystemExit(f"a process ended with status {process.exitcode}")
    print(json.dumps({"steps_per_second": sum(results.get() for _ in processes)}))


if __name__ == "__main__":
    main()
