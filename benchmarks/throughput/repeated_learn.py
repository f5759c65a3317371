"""Resident memory of one process that calls `learn` again and again, after every call.

    python -m benchmarks.throughput.repeated_learn                  thirty trainings of equal settings
    python -m benchmarks.throughput.repeated_learn --vary           each with another entropy coefficient, so that each is compiled for itself

Linux only: it reads /proc.
"""

import argparse
import ctypes
import gc
import time
from pathlib import Path

import gymnasium as gym

from baselines_ppo import MlpPolicy, learn


def resident() -> float:
    """MB that this process holds, once what is free has been given back to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=30)
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--vary", action="store_true", help="another entropy coefficient in every call")
    args = parser.parse_args()
    found = []
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
        found.append(resident())
        print(f"call {call}: {found[-1]:.1f} MB, {time.perf_counter() - began:.2f} s", flush=True)
    last = found[-11:]
    print(f"growth of the last {len(last) - 1} calls: {(last[-1] - last[0]) / max(len(last) - 1, 1):.2f} MB a call")


if __name__ == "__main__":
    main()
