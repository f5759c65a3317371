"""The environment alone: what a core can step when nothing learns. A process of its own, started by measurements.py.

Imports neither TensorFlow nor anything of ours; prints one JSON object, {"steps_per_second": summed over the processes}.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse  # noqa: E402
import json  # noqa: E402
import multiprocessing  # noqa: E402
import time  # noqa: E402

ACTIONS = 1 << 14  # drawn beforehand, used over and over
WARM_UP = 1000  # steps before the clock starts
GLANCE = 50  # steps between looks at the clock


def step_for(env_id, seed, seconds, start, results):
    """Step one environment with Gaussian actions for `seconds` from when all processes are ready; puts steps per second.

    Args:
        env_id: a Gymnasium id.
        seed: of the actions and of the environment.
        seconds: how long.
        start: barrier of all processes.
        results: queue.
    """
    import gymnasium as gym
    import numpy as np

    gym.logger.min_level = gym.logger.ERROR
    env = gym.make(env_id, disable_env_checker=True)
    actions = list(
        np.random.default_rng(seed).standard_normal((ACTIONS, *env.action_space.shape)).astype(env.action_space.dtype)
    )
    env.reset(seed=seed)

    def run(count, offset):
        for i in range(offset, offset + count):
            _, _, terminated, truncated, _ = env.step(actions[i % ACTIONS])
            if terminated or truncated:
                env.reset()

    run(WARM_UP, 0)
    start.wait()
    steps, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        run(GLANCE, steps)
        steps += GLANCE
    results.put(steps / elapsed)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("env_id")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=8.0)
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(args.processes), context.Queue()
    processes = [
        context.Process(target=step_for, args=(args.env_id, seed, args.seconds, start, results))
        for seed in range(args.processes)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise SystemExit(f"a process ended with {process.exitcode}")
    print(json.dumps({"steps_per_second": sum(results.get() for _ in processes)}))


if __name__ == "__main__":
    main()
