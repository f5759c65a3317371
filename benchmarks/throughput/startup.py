"""Time from the command to the end of the first iteration, by part.

    python -m benchmarks.throughput.startup                                     Hopper-v4 with preset ppo1, five times
    python -m benchmarks.throughput.startup --env Pendulum-v1 --preset classic

Each round is a fresh process, which runs the command line with a clock before and after some functions. The table has medians.
"""

import argparse
import functools
import importlib
import json
import os
import statistics
import sys
import tempfile
import time
from typing import Any

from benchmarks.markdown import markdown_table
from benchmarks.returns.command_line import positive_int
from benchmarks.throughput.iteration_profile import find_owner
from benchmarks.throughput.measurements import run_child
from benchmarks.throughput.report import Load

STARTED = "Python, NumPy"
# part, whether it ends before or after the first call of a function, and that function
MILESTONES = (
    ("settings, MPI", "before", "baselines_ppo.train.runner", "start_tensorflow"),
    ("import of TensorFlow", "after", "baselines_ppo.train.runner", "start_tensorflow"),
    ("import of this package", "before", "baselines_ppo.train.learn_run", "build_probe_policy"),
    ("spaces, checks, run directory", "before", "baselines_ppo.train.learn_run", "make_envs"),
    ("environments", "after", "baselines_ppo.train.learn_run", "make_envs"),
    ("loggers", "before", "baselines_ppo.algorithm_setup", "AlgorithmSetup.__init__"),
    ("policies, TensorFlow Probability", "after", "baselines_ppo.algorithm_setup", "AlgorithmSetup.__init__"),
    ("update, callbacks", "before", "common.training.loop", "TrainingLoop.collect"),
    ("first segment, and compilation at the same time", "after", "common.training.loop", "TrainingLoop.collect"),
    ("evaluation of the segment", "before", "baselines_ppo.pposgd_simple", "PPOUpdate.__call__"),
    ("first update", "after", "baselines_ppo.pposgd_simple", "PPOUpdate.__call__"),
    ("statistics, log", "after", "common.training.loop", "TrainingLoop.end_iteration"),
)
LATE = (
    "baselines_ppo.train.learn_run",
    "baselines_ppo.algorithm_setup",
    "baselines_ppo.pposgd_simple",
    "common.training.loop",
)


class Clock:
    """Notes when parts end: wall-clock time, and CPU time of this process.

    Args:
        began: `time.time()` when the parent started this process.
    """

    def __init__(self, began: float) -> None:
        self.began = began
        self.ends: dict[str, tuple[float, float]] = {}

    def note(self, part: str) -> None:
        """Note the end of a part; only the first counts."""
        self.ends.setdefault(part, (time.time() - self.began, time.process_time()))

    def attach(self, part: str, when: str, module: str, path: str) -> None:
        """Note the end of a part before or after each call of a function."""
        owner, name = find_owner(module, path)
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if when == "before":
                self.note(part)
            result = function(*args, **kwargs)
            if when == "after":
                self.note(part)
            return result

        setattr(owner, name, timed)


def run_once(env_id: str, preset: str, began: float) -> dict[str, tuple[float, float]]:
    """Run one iteration in this process; return {part: (seconds, CPU seconds) at its end}."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in run.py
    clock = Clock(began)
    clock.note(STARTED)
    from baselines_ppo.__main__ import main as run
    from baselines_ppo.train import runner

    start = runner.start_tensorflow

    def start_and_attach(*args: Any) -> None:
        """The other modules import TensorFlow, so that they can be prepared only after it."""
        clock.note(MILESTONES[0][0])
        start(*args)
        clock.note(MILESTONES[1][0])
        for module in LATE:
            importlib.import_module(module)
        for milestone in MILESTONES[2:]:
            clock.attach(*milestone)

    runner.start_tensorflow = start_and_attach
    with tempfile.TemporaryDirectory(prefix="startup-") as directory:
        argv = ["--env", env_id, "--preset", preset, "--max-iters", "1", "--report", "false"]
        if status := run([*argv, "--run-dir", f"{directory}/run"]):
            raise SystemExit(status)
    return clock.ends


def table(rounds: list[dict[str, tuple[float, float]]]) -> str:
    """A Markdown table of the medians of the parts, and of all of them together."""
    names = [STARTED, *(name for name, *_ in MILESTONES)]
    rows = []
    for clock in range(2):
        ends = [[0.0, *(one[name][clock] for name in names)] for one in rounds]
        parts = [[end - start for start, end in zip(one, one[1:])] for one in ends]
        rows.append([f"{statistics.median(column):.2f}" for column in (*zip(*parts), [one[-1] for one in ends])])
    return markdown_table(("part", "seconds", "CPU seconds"), list(zip([*names, "all"], *rows)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Hopper-v4", metavar="ID")
    parser.add_argument("--preset", default="ppo1")
    parser.add_argument("--rounds", type=positive_int, default=5)
    parser.add_argument("--once", type=float, metavar="TIME", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once is not None:
        print(json.dumps(run_once(args.env, args.preset, args.once)))
        return 0
    load, rounds = Load(), []
    for _ in range(args.rounds):
        argv = [sys.executable, "-m", "benchmarks.throughput.startup", "--env", args.env, "--preset", args.preset]
        rounds.append(run_child([*argv, "--once", time.time()]))
    print(table(rounds))
    others = load.other_cores()
    print(
        f"\n{args.env}, preset {args.preset}, {args.rounds} rounds"
        + (f"; other processes used {others:.1f} cores" if others else "")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
