"""OpenAI Baselines' own PPO1 on tasks of today, its code unchanged and its settings of 2017: what its policies earn, seed by seed.

    pip install -e '.[benchmarks]' && pip install --no-deps baselines==0.1.5
    python -m benchmarks.paper.original_ppo1 --env Swimmer-v4                seeds 0 to 4, a million steps each
    python -m benchmarks.paper.original_ppo1 --env Swimmer-v4 --report       the table of what has finished

It asks for TensorFlow 1 and Gym, and gets TensorFlow's own compatibility module, with the one layer that is missing from it, and Gymnasium behind Gym's
names. What has finished stays in results/original-ppo1.jsonl and is not trained again; a training that is killed begins afresh. A time limit counts as a
death, as in 2017.
"""

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np

from baselines_ppo.experiment.outputs import versions
from benchmarks.paths import ROOT
from benchmarks.returns.group_table import interquartile, mean_and_deviation
from benchmarks.returns.result_files import Results
from benchmarks.returns.scores import markdown_table
from benchmarks.returns.training_queue import add_jobs, report_place, tree_commit
from common.runtime.tf_import import import_tensorflow

BENCHMARK, VERSION = "original-ppo1", "0.1.5"
SETTINGS = {
    "timesteps_per_actorbatch": 2048,
    "clip_param": 0.2,
    "entcoeff": 0.0,
    "optim_epochs": 10,
    "optim_stepsize": 3e-4,
    "optim_batchsize": 64,
    "gamma": 0.99,
    "lam": 0.95,
    "schedule": "linear",
}  # its run_mujoco.py's
HIDDEN = {"hid_size": 64, "num_hid_layers": 2}  # likewise
TASKS, SEEDS, STEPS = ("Swimmer-v4",), (0, 1, 2, 3, 4), 1_000_000
EPISODES = 100
TOLD_EVERY = 50  # iterations


class OldEnv:
    """A Gymnasium environment behind Gym's interface of 2017: `reset` gives an observation, `step` four values."""

    def __init__(self, env, seed):
        self.env, self.seed = env, seed
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.action_space.seed(seed)

    def reset(self):
        seed, self.seed = self.seed, None
        return self.env.reset(seed=seed)[0]

    def step(self, action):
        ob, reward, terminated, truncated, info = self.env.step(action)
        return ob, reward, terminated or truncated, info


def dense(x, units, name, kernel_initializer):
    """`tf.layers.dense` of TensorFlow 1, which Keras 3 has taken away: x W + b, [batch, units]."""
    import tensorflow as tf

    with tf.variable_scope(name):
        kernel = tf.get_variable("kernel", [x.shape[-1], units], initializer=kernel_initializer)
        return x @ kernel + tf.get_variable("bias", [units], initializer=tf.zeros_initializer())


def old_libraries():
    """TensorFlow 1 and Gym under the names that the original imports."""
    import logging

    import gymnasium

    tf = import_tensorflow(threads=1).compat.v1
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # all of it is deprecated
    tf.disable_v2_behavior()
    old = types.ModuleType("tensorflow")
    old.__getattr__ = lambda name: getattr(tf, name)
    old.layers = types.SimpleNamespace(dense=dense)
    with tf.Graph().as_default():
        old.Tensor = type(tf.placeholder(tf.float32))  # it asks for this very class, which has another name now
    sys.modules |= {"tensorflow": old, "gym": gymnasium}


def train(env_id, seed, steps):
    """One training by the original, and its final policy's returns; the JSON line."""
    import gymnasium

    commit = tree_commit()
    gymnasium.logger.min_level = gymnasium.logger.ERROR  # -v4 is meant
    old_libraries()
    U, logger, misc = (
        importlib.import_module(f"baselines.{name}") for name in ("common.tf_util", "logger", "common.misc_util")
    )
    mlp_policy, pposgd_simple = (
        importlib.import_module(f"baselines.ppo1.{name}") for name in ("mlp_policy", "pposgd_simple")
    )
    logger.set_level(logger.DISABLED)
    misc.set_global_seeds(seed)
    curve, last, began = [], {}, time.perf_counter()

    def each_iteration(theirs, _):
        last.update(
            pi=theirs["pi"],
            returns=theirs["rewbuffer"],
            done=theirs["timesteps_so_far"],
            episodes=theirs["episodes_so_far"],
        )
        if not theirs["rewbuffer"]:
            return
        mean = float(np.mean(theirs["rewbuffer"]))
        curve.append((theirs["timesteps_so_far"], mean))
        if theirs["iters_so_far"] % TOLD_EVERY == 0:
            speed = last["done"] / (time.perf_counter() - began)
            print(
                f"{env_id}, seed {seed}: {last['done']:,} of {steps:,} steps, last {EPISODES} episodes {mean:,.1f}, {speed:,.0f} steps/s, "
                f"about {(steps - last['done']) / speed / 60:.0f} min left",
                file=sys.stderr,
                flush=True,
            )

    with U.make_session(num_cpu=1):
        pposgd_simple.learn(
            OldEnv(gymnasium.make(env_id), seed),
            lambda name, ob, ac: mlp_policy.MlpPolicy(name=name, ob_space=ob, ac_space=ac, **HIDDEN),
            max_timesteps=steps,
            callback=each_iteration,
            **SETTINGS,
        )
        seconds = time.perf_counter() - began
        fresh = OldEnv(gymnasium.make(env_id), 10_000 + seed)
        played = {
            how: [episode(fresh, last["pi"], stochastic) for _ in range(EPISODES)]
            for how, stochastic in (("deterministic", False), ("stochastic", True))
        }
    return {
        "env": env_id,
        "seed": seed,
        "steps": steps,
        "score": float(np.mean(last["returns"])),
        "curve": curve[:: max(1, len(curve) // 100)],
        "episodes": last["episodes"],
        "seconds": seconds,
        **played,
        "settings": SETTINGS | HIDDEN,
        "git_commit": commit,
        "versions": versions() | {"baselines": importlib.metadata.version("baselines")},
        "platform": platform.platform(),
    }


def installed():
    """Whether the original is."""
    return importlib.util.find_spec("baselines") is not None


def episode(env, pi, stochastic):
    """The return of one episode."""
    ob, done, total = env.reset(), False, 0.0
    while not done:
        ob, reward, done, _ = env.step(pi.act(stochastic, ob)[0])
        total += float(reward)
    return round(total, 3)


def in_a_process(env_id, seed, steps):
    """`train` in a process of its own, which says on stderr how far it is.

    Raises:
        RuntimeError: if it fails.
    """
    words = [
        sys.executable,
        "-m",
        "benchmarks.paper.original_ppo1",
        "--one",
        "--env",
        env_id,
        "--seeds",
        str(seed),
        "--num-timesteps",
        str(steps),
    ]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    ) as child:
        out = child.stdout.read()
    if child.returncode:
        raise RuntimeError(f"{env_id}, seed {seed}: ended with status {child.returncode}; why stands above")
    return json.loads(out.splitlines()[-1])


def report(tasks, seeds, steps):
    """The table of what has finished, written beside the raw results, under a name of its own if it is not the whole."""
    lines = {
        (line["env"], line["seed"]): line
        for line in Results(BENCHMARK).lines
        if line["steps"] == steps and line["seed"] in seeds
    }
    rows = []
    for env_id in tasks:
        found = [line for (env, _), line in sorted(lines.items()) if env == env_id]
        if not found:
            continue
        finals = [float(np.mean(line["deterministic"])) for line in found]
        rows.append(
            (
                env_id,
                str(len(found)),
                mean_and_deviation(finals),
                interquartile(finals),
                f"{np.mean([line['stochastic'] for line in found]):,.1f}",
                mean_and_deviation([line["score"] for line in found]),
                f"{np.median([line['seconds'] for line in found]):,.0f}",
            )
        )
    if not rows:
        return "nothing has finished yet"
    text = (
        f"baselines {VERSION}, ppo1, its own settings, {steps:,} steps\n\n"
        + markdown_table(
            (
                "task",
                "seeds",
                "100 deterministic episodes, mean ± deviation over seeds",
                "interquartile mean (95 % interval)",
                "100 stochastic",
                "last 100 of training",
                "seconds",
            ),
            rows,
        )
        + "\n"
    )
    place = report_place(BENCHMARK, set(TASKS) <= set(tasks) and set(SEEDS) <= set(seeds) and steps == STEPS)
    place.with_name(f"{place.name}-table.md").write_text(text)
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--env",
        nargs="+",
        metavar="ID",
        default=list(TASKS),
        help="Gymnasium ids with Box observations and actions [Swimmer-v4]",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="[0 1 2 3 4]")
    parser.add_argument("--num-timesteps", type=lambda text: int(float(text)), default=STEPS, help="[1e6]")
    add_jobs(parser)
    parser.add_argument("--report", action="store_true", help="only write the table of what has finished")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.report and not installed():
        parser.error(f"the original is not installed; pip install --no-deps baselines=={VERSION}")
    if args.one:
        with contextlib.redirect_stdout(sys.stderr):
            line = train(args.env[0], args.seeds[0], args.num_timesteps)
        print(json.dumps(line))
        return 0
    results, failed = Results(BENCHMARK), 0
    done = {(line["env"], line["seed"], line["steps"]) for line in results.lines}
    asked = dict.fromkeys((env_id, seed, args.num_timesteps) for seed in args.seeds for env_id in args.env)
    waiting = [] if args.report else [key for key in asked if key not in done]
    with ThreadPoolExecutor(args.jobs) as pool:
        for future in as_completed([pool.submit(in_a_process, *key) for key in waiting]):
            try:
                line = future.result()
            except RuntimeError as error:  # of one training: the others go on
                failed += 1
                print(f"FAILED: {error}", flush=True)
                continue
            results.add(line)
            print(
                f"{line['env']}, seed {line['seed']}: {np.mean(line['deterministic']):,.1f} in {line['seconds']:.0f} s",
                flush=True,
            )
    print(report(args.env, args.seeds, args.num_timesteps))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
