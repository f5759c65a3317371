"""Where one iteration of ours goes, by part: the command line in this process, with a clock around each step of it.

Started by measurements.py; prints one JSON object, {part: seconds an iteration}. A part that begins with two spaces lies inside the one
above that does not.
"""

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from functools import wraps

SKIPPED, MEASURED = 3, 25  # iterations; as many as there are from one checkpoint to the next, so one is among them

# Part, and the clocks whose difference it is: the first less the others.
PARTS = (
    ("collect", "collect"),
    ("  environment, inside the Monitor", "environment"),
    ("  acting: network and noise", "act"),
    ("  Monitor, clipping, storing, the loop", "collect", "environment", "act"),
    ("evaluate the segment, oldpi <- pi", "evaluate"),
    ("advantages", "advantages"),
    ("optimise", "optimise"),
    ("  the compiled sweep", "sweep"),
    ("  terms over the whole segment", "terms"),
    ("  TRPO's step", "step"),
    ("  planning minibatches, standardising", "optimise", "sweep", "terms", "step"),
    ("finish", "finish"),
    ("  log: CSV, JSON, TensorBoard, screen", "log"),
    ("  checkpoint", "checkpoint"),
    ("  statistics, observation filter, drift check", "finish", "log", "checkpoint"),
    ("agreement of ranks, minibatch generator", "total", "collect", "evaluate", "advantages", "optimise", "finish"),
    ("all", "total"),
)


class Clocks:
    """Seconds spent in named places since the last `start`."""

    def __init__(self):
        self.seconds, self.began = defaultdict(float), time.perf_counter()

    def start(self):
        self.seconds.clear()
        self.began = time.perf_counter()

    def around(self, name, function):
        """`function`, with its time counted under `name`."""
        now, seconds = time.perf_counter, self.seconds

        @wraps(function)
        def timed(*args, **kwargs):
            began = now()
            try:
                return function(*args, **kwargs)
            finally:
                seconds[name] += now() - began

        return timed

    def attach(self, name, owner, attribute):
        """Count the time of a class's or module's function under `name`."""
        setattr(owner, attribute, self.around(name, getattr(owner, attribute)))


def attach_all(clocks):
    """Put clocks around the steps of an iteration; TensorFlow must have been imported as run.py does it."""
    from baselines_ppo import pposgd_simple, trpo_mpi
    from common.loggers import logger
    from common.optim import minibatch_optimizer
    from common.rollouts import collector as segments
    from common.rollouts import processor
    from common.training import loop as training
    from common.vec_env import subproc

    clocks.attach("collect", training.TrainingLoop, "collect")
    clocks.attach("evaluate", processor.SegmentProcessor, "__call__")
    for module, update in ((pposgd_simple, "PPOUpdate"), (trpo_mpi, "TRPOUpdate")):
        clocks.attach("advantages", module, "add_vtarg_and_adv")
        clocks.attach("optimise", getattr(module, update), "__call__")
    clocks.attach("step", trpo_mpi.TRPOUpdate, "step")
    clocks.attach("sweep", minibatch_optimizer.MinibatchOptimizer, "sweep")
    clocks.attach("terms", minibatch_optimizer.MinibatchOptimizer, "evaluate")
    clocks.attach("finish", training.TrainingLoop, "finish")
    clocks.attach("log", logger.Logger, "write")
    clocks.attach("checkpoint", training.TrainingLoop, "_checkpoint")
    prepare = segments.Collector.__init__

    @wraps(prepare)
    def prepare_with_clocks(collector, env, pi, *args, **kwargs):
        prepare(collector, env, pi, *args, **kwargs)
        if isinstance(
            collector.adapter.env, subproc.SubprocVectorEnv
        ):  # the environments' time is the wait for their processes
            clocks.attach("environment", collector.adapter.env, "step_into")
        else:
            for monitor in collector.monitors:
                clocks.attach("environment", monitor.env, "step")
                clocks.attach("environment", monitor.env, "reset")
        actor = pi.actor
        pi.actor = lambda num_envs, noise: clocks.around("act", actor(num_envs, noise))

    segments.Collector.__init__ = prepare_with_clocks
    _count_iterations(clocks, training.TrainingLoop)


def _count_iterations(clocks, training_class):
    """Start the clocks afresh after the iterations that compile, and stop them with the last."""
    finish = training_class.finish

    @wraps(finish)
    def finish_and_count(training, *args, **kwargs):
        finish(training, *args, **kwargs)
        if training.iters_so_far == SKIPPED:
            clocks.start()
        elif training.iters_so_far == SKIPPED + MEASURED:
            clocks.result = dict(clocks.seconds) | {"total": time.perf_counter() - clocks.began}

    training_class.finish = finish_and_count


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("env_id")
    parser.add_argument("preset")
    args, more = parser.parse_known_args()  # what else there is, run.py reads
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as run.py has it, before NumPy reads it
    from baselines_ppo.__main__ import main as run
    from baselines_ppo.config.presets import PRESETS
    from baselines_ppo.config.settings import ALGORITHMS
    from baselines_ppo.experiment.setup import resolve_for_env
    from baselines_ppo.train import runner
    from common.runtime.cpu import usable_cpu_count

    resolved = resolve_for_env({"env": args.env_id, "preset": args.preset}, 1, usable_cpu_count())
    runner.start_tensorflow(resolved["policy"], usable_cpu_count())
    clocks = Clocks()
    attach_all(clocks)
    preset = PRESETS[args.preset]
    settings = ALGORITHMS[preset.alg](**preset.learn)
    steps = getattr(settings, settings.counts()[0])
    with tempfile.TemporaryDirectory(prefix="throughput-") as folder:
        status = run(
            [
                "--env",
                args.env_id,
                "--preset",
                args.preset,
                "--num-timesteps",
                str((SKIPPED + MEASURED) * steps),
                "--run-dir",
                f"{folder}/run",
                *more,
            ]
        )
    if status:
        raise SystemExit(status)
    found = defaultdict(float, clocks.result)
    print(
        json.dumps(
            {part: (found[first] - sum(found[name] for name in less)) / MEASURED for part, first, *less in PARTS}
        )
    )


if __name__ == "__main__":
    main()
