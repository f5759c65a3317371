"""Steps per second of an environment alone, without learning, on one or more processes. Started by measurements.py.

Imports neither TensorFlow nor this project; prints one JSON object, {"steps_per_second": sum over the processes}.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse  # noqa: E402
import json  # noqa: E402
import multiprocessing  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

ACTIONS = 1 << 14  # drawn in advance and reused
WARM_UP = 1000  # steps before the measurement
CLOCK_INTERVAL = 50  # steps between readings of the clock


def measure(env_id: str, seed: int, seconds: float, start: Any, results: Any) -> None:
    """Step one environment with Gaussian actions and put its steps per second into `results`.

    Args:
        env_id: Gymnasium id.
        seed: of the actions and of the environment.
        seconds: duration, from the moment when all processes are ready.
        start: barrier of all processes.
        results: queue.
    """
    import gymnasium as gym
    import numpy as np

    gym.logger.min_level = gym.logger.ERROR
    env = gym.make(env_id, disable_env_checker=True)
    rng = np.random.default_rng(seed)
    actions = list(rng.standard_normal((ACTIONS, *env.action_space.shape)).astype(env.action_space.dtype))
    env.reset(seed=seed)

    def run(count: int, offset: int) -> None:
        for i in range(offset, offset + count):
            _, _, terminated, truncated, _ = env.step(actions[i % ACTIONS])
            if terminated or truncated:
                env.reset()

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
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(args.processes), context.Queue()
    processes = [
        context.Process(target=measure, args=(args.env_id, seed, args.seconds, start, results))
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
