"""Profile of one training iteration: runs the command line in this process with a timer around each part.

Started by measurements.py; prints one JSON object, {part: seconds per iteration}. A part that begins with two spaces is contained in the
last one before it that does not.
"""

import argparse
import functools
import importlib
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

SKIPPED = 3  # iterations, which compile
MEASURED = 25  # iterations; the default interval of checkpoints, so one of them is included

# Part, and the timers that it is computed from: the first minus the others.
PARTS = (
    ("collect", "collect"),
    ("  mj_step alone", "physics"),
    ("  the rest of the environment, with its Monitor", "environment", "physics"),
    ("  acting: network and noise", "act"),
    ("  clipping, storing, the loop", "collect", "environment", "act"),
    ("evaluate the segment, oldpi <- pi", "evaluate"),
    ("advantages", "advantages"),
    ("optimise", "optimise"),
    ("  the compiled sweep", "sweep"),
    ("  losses over the whole segment", "terms"),
    ("  TRPO's step", "step"),
    ("  planning minibatches, standardising", "optimise", "sweep", "terms", "step"),
    ("finish", "finish"),
    ("  log: CSV, JSON, TensorBoard, console", "log"),
    ("  checkpoint", "checkpoint"),
    ("  statistics, observation normalization, replica check", "finish", "log", "checkpoint"),
    (
        "synchronization of ranks, minibatch generator",
        "total",
        "collect",
        "evaluate",
        "advantages",
        "optimise",
        "finish",
    ),
    ("all", "total"),
)


# Timer, module and function. tests/benchmarks/test_iteration_profile.py checks that each exists.
TIMED = (
    ("act", "common.policies.actor", "Actor.__call__"),  # of networks without an actor in NumPy
    ("collect", "common.training.loop", "TrainingLoop.collect"),
    ("evaluate", "common.rollouts.processor", "SegmentProcessor.__call__"),
    ("advantages", "baselines_ppo.pposgd_simple", "add_vtarg_and_adv"),
    ("advantages", "baselines_ppo.trpo_mpi", "add_vtarg_and_adv"),
    ("optimise", "baselines_ppo.pposgd_simple", "PPOUpdate.__call__"),
    ("optimise", "baselines_ppo.trpo_mpi", "TRPOUpdate.__call__"),
    ("step", "baselines_ppo.trpo_mpi", "TRPOUpdate.step"),
    ("sweep", "common.optim.minibatch_optimizer", "MinibatchOptimizer.run_minibatches"),
    ("terms", "common.optim.minibatch_optimizer", "MinibatchOptimizer.evaluate"),
    ("finish", "common.training.loop", "TrainingLoop.end_iteration"),
    ("log", "common.loggers.logger", "Logger.write"),
    ("checkpoint", "common.training.loop", "save_checkpoint"),
)


def find_owner(module: str, path: str) -> tuple[Any, str]:
    """The class or module that has a function, and the function's name."""
    *owners, name = path.split(".")
    return functools.reduce(getattr, owners, importlib.import_module(module)), name


class Timers:
    """Seconds spent in named functions since the last `start`.

    Attributes:
        seconds: {name: seconds}.
        began: time of the last `start`.
        result: {name: seconds} of the measured iterations, with their "total".
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.began = time.perf_counter()
        self.result: dict[str, float] = {}

    def start(self) -> None:
        """Reset all timers."""
        self.seconds.clear()
        self.began = time.perf_counter()

    def wrap(self, name: str, function: Callable, threads: int = 1) -> Callable:
        """`function`, with its time added to `name`; of that of several threads, which run it at the same time, the mean."""
        now, seconds = time.perf_counter, self.seconds

        @functools.wraps(function)
        def timed(*args, **kwargs):
            began = now()
            try:
                return function(*args, **kwargs)
            finally:
                seconds[name] += (now() - began) / threads

        return timed

    def attach(self, name: str, owner: Any, attribute: str, threads: int = 1) -> None:
        """Add the time of a function of a class, module or object to `name`; `threads` as for `wrap`."""
        setattr(owner, attribute, self.wrap(name, getattr(owner, attribute), threads))


def attach_all(timers: Timers) -> None:
    """Time the parts of an iteration; TensorFlow must have been imported as in run.py."""
    from common.policies.actor import Actor
    from common.rollouts.collector import Collector
    from common.training.loop import TrainingLoop
    from common.vec_env.mujoco.vector_env import MujocoVectorEnv

    for name, module, path in TIMED:
        timers.attach(name, *find_owner(module, path))
    prepare = Collector.__init__

    @functools.wraps(prepare)
    def prepare_with_timers(collector, env, pi, *args, **kwargs):
        prepare(collector, env, pi, *args, **kwargs)
        threads = len(collector.groups)
        for _, adapter in collector.groups:  # of environments in other processes, the wait for them
            for method in ("step_into", "write_rewards"):
                timers.attach("environment", adapter.env, method, threads)
            if isinstance(adapter.env, MujocoVectorEnv):
                timers.attach("physics", adapter.env.task.simulations, "mj_step", threads)
        make_actor = pi.actor

        def make_timed_actor(num_envs, noise):
            actor = make_actor(num_envs, noise)
            return actor if isinstance(actor, Actor) else timers.wrap("act", actor, threads)

        pi.actor = make_timed_actor

    Collector.__init__ = prepare_with_timers
    _count_iterations(timers, TrainingLoop)


def _count_iterations(timers: Timers, training_class: type) -> None:
    """Reset the timers after the iterations that compile, and store the result after the last."""
    end_iteration = training_class.end_iteration

    @functools.wraps(end_iteration)
    def end_and_count(training, *args, **kwargs):
        end_iteration(training, *args, **kwargs)
        if training.iters_so_far == SKIPPED:
            timers.start()
        elif training.iters_so_far == SKIPPED + MEASURED:
            timers.result = dict(timers.seconds) | {"total": time.perf_counter() - timers.began}

    training_class.end_iteration = end_and_count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("env_id")
    parser.add_argument("preset")
    args, more = parser.parse_known_args()  # run.py parses the rest
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in run.py; NumPy reads it when it is imported
    from baselines_ppo.__main__ import main as run
    from baselines_ppo.experiment.setup import resolve_config
    from baselines_ppo.train import runner
    from common.runtime.cpu import usable_cpu_count

    resolved = resolve_config({"env": args.env_id, "preset": args.preset}, 1, usable_cpu_count())
    runner.start_tensorflow(resolved.run.policy, usable_cpu_count())
    timers = Timers()
    attach_all(timers)
    with tempfile.TemporaryDirectory(prefix="throughput-") as directory:
        argv = ["--env", args.env_id, "--preset", args.preset, "--run-dir", f"{directory}/run"]
        status = run([*argv, "--num-timesteps", str((SKIPPED + MEASURED) * resolved.rollout_steps), *more])
    if status:
        raise SystemExit(status)
    found = defaultdict(float, timers.result)
    parts = {part: (found[first] - sum(found[name] for name in others)) / MEASURED for part, first, *others in PARTS}
    print(json.dumps(parts))


if __name__ == "__main__":
    main()
