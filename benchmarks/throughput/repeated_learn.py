"""Resident memory of one process that calls `learn` repeatedly, printed after every call.

    python -m benchmarks.throughput.repeated_learn             thirty trainings with equal settings
    python -m benchmarks.throughput.repeated_learn --vary      a different entropy coefficient, and so a new compilation, in each

Linux only: reads /proc.
"""

import argparse
import ctypes
import gc
import time
from pathlib import Path

import gymnasium as gym

from baselines_ppo import MlpPolicy, learn


def resident_memory() -> float:
    """Resident memory of this process in MB, after free memory has been returned to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=30)
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--vary", action="store_true", help="use a different entropy coefficient in every call")
    args = parser.parse_args()
    memory = []
    for call in range(1, args.calls + 1):
        began = time.perf_counter()
        learn(
            gym.make(args.env),
            MlpPolicy,
            max_iters=2,
            timesteps_per_actorbatch=64,
            optim_batchsize=32,
            seed=0,
            entcoeff=1e-3 * call if args.vary else 0.0,
        )
        memory.append(resident_memory())
        print(f"call {call}: {memory[-1]:.1f} MB, {time.perf_counter() - began:.2f} s", flush=True)
    last = memory[-11:]
    calls = len(last) - 1
    print(f"growth over the last {calls} calls: {(last[-1] - last[0]) / max(calls, 1):.2f} MB per call")


if __name__ == "__main__":
    main()
