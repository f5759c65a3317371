"""Returns of the original PPO1 of OpenAI Baselines on current environments, with unchanged code and its settings of 2017.

    pip install -e '.[benchmarks]' && pip install --no-deps baselines==0.1.5
    python -m benchmarks.paper.original_ppo1 --env Swimmer-v4                seeds 0 to 4, 1M steps each
    python -m benchmarks.paper.original_ppo1 --env Swimmer-v4 --report       the table of the finished trainings

The original requires TensorFlow 1 and Gym. It gets TensorFlow's compatibility module, completed by one layer that the module lacks,
and Gymnasium under Gym's names. Finished trainings are kept in results/original-ppo1.jsonl and not repeated; a killed training
restarts from the beginning. A time limit is treated as termination, as in 2017.
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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import numpy as np

from baselines_ppo.experiment.metadata import package_versions
from benchmarks.markdown import markdown_table
from benchmarks.paths import ROOT
from benchmarks.returns.command_line import add_jobs_argument, report_path, step_count
from benchmarks.returns.group_table import format_interquartile, format_mean_std
from benchmarks.returns.result_files import Line, ResultFile
from benchmarks.returns.training_queue import tree_commit
from common.runtime.tf_import import import_tensorflow

BENCHMARK, VERSION = "original-ppo1", "0.1.5"
# settings of Baselines' run_mujoco.py
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
}
HIDDEN = {"hid_size": 64, "num_hid_layers": 2}
TASKS, SEEDS, STEPS = ("Swimmer-v4",), (0, 1, 2, 3, 4), 1_000_000
EPISODES = 100
PRINT_INTERVAL = 50  # iterations


class GymEnv:
    """A Gymnasium environment with Gym's interface of 2017: `reset` returns an observation, `step` four values."""

    def __init__(self, env: Any, seed: int) -> None:
        self.env = env
        self.seed: int | None = seed
        self.observation_space = env.observation_space
        self.action_space = env.action_space
        self.action_space.seed(seed)

    def reset(self) -> np.ndarray:
        seed, self.seed = self.seed, None
        return self.env.reset(seed=seed)[0]

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, dict[str, Any]]:
        ob, reward, terminated, truncated, info = self.env.step(action)
        return ob, reward, terminated or truncated, info


def dense(x: Any, units: int, name: str, kernel_initializer: Any) -> Any:
    """`tf.layers.dense` of TensorFlow 1, which Keras 3 removed: x W + b, [batch, units]."""
    import tensorflow as tf

    with tf.variable_scope(name):
        kernel = tf.get_variable("kernel", [x.shape[-1], units], initializer=kernel_initializer)
        return x @ kernel + tf.get_variable("bias", [units], initializer=tf.zeros_initializer())


def install_old_libraries() -> None:
    """Make TensorFlow 1 and Gym importable under the names that the original uses."""
    import logging

    import gymnasium

    tf = import_tensorflow(threads=1).compat.v1
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # no deprecation warnings
    tf.disable_v2_behavior()
    old = types.ModuleType("tensorflow")
    old.__getattr__ = lambda name: getattr(tf, name)
    old.layers = types.SimpleNamespace(dense=dense)
    with tf.Graph().as_default():
        old.Tensor = type(tf.placeholder(tf.float32))  # the original compares with this class, which has been renamed
    sys.modules |= {"tensorflow": old, "gym": gymnasium}


class ProgressRecorder:
    """Callback of the original: records the learning curve and prints the progress to stderr.

    Attributes:
        curve: (steps, mean return of the last episodes), one entry per iteration.
        latest: the local variables of `learn` after the last iteration.
    """

    def __init__(self, env_id: str, seed: int, steps: int) -> None:
        self.label = f"{env_id}, seed {seed}"
        self.steps = steps
        self.curve: list[tuple[int, float]] = []
        self.latest: dict[str, Any] = {}
        self.began = time.perf_counter()

    def __call__(self, learn_locals: dict[str, Any], _: dict[str, Any]) -> None:
        names = "pi", "rewbuffer", "timesteps_so_far", "episodes_so_far"
        self.latest = {name: learn_locals[name] for name in names}
        if not learn_locals["rewbuffer"]:
            return
        mean, done = float(np.mean(learn_locals["rewbuffer"])), learn_locals["timesteps_so_far"]
        self.curve.append((done, mean))
        if learn_locals["iters_so_far"] % PRINT_INTERVAL == 0:
            speed = done / (time.perf_counter() - self.began)
            print(
                f"{self.label}: {done:,} of {self.steps:,} steps, last {EPISODES} episodes {mean:,.1f}, {speed:,.0f} steps/s, "
                f"about {(self.steps - done) / speed / 60:.0f} min left",
                file=sys.stderr,
                flush=True,
            )


def train(env_id: str, seed: int, steps: int) -> Line:
    """Train with the original and evaluate the final policy; returns the JSON line."""
    import gymnasium

    commit = tree_commit()
    gymnasium.logger.min_level = gymnasium.logger.ERROR  # no warning about -v4 environments
    install_old_libraries()
    U = importlib.import_module("baselines.common.tf_util")
    logger = importlib.import_module("baselines.logger")
    mlp_policy = importlib.import_module("baselines.ppo1.mlp_policy")
    pposgd_simple = importlib.import_module("baselines.ppo1.pposgd_simple")
    logger.set_level(logger.DISABLED)
    importlib.import_module("baselines.common.misc_util").set_global_seeds(seed)
    recorder = ProgressRecorder(env_id, seed, steps)
    with U.make_session(num_cpu=1):
        pposgd_simple.learn(
            GymEnv(gymnasium.make(env_id), seed),
            lambda name, ob, ac: mlp_policy.MlpPolicy(name=name, ob_space=ob, ac_space=ac, **HIDDEN),
            max_timesteps=steps,
            callback=recorder,
            **SETTINGS,
        )
        seconds = time.perf_counter() - recorder.began
        eval_env = GymEnv(gymnasium.make(env_id), 10_000 + seed)
        evaluations = {
            mode: [run_episode(eval_env, recorder.latest["pi"].act, stochastic) for _ in range(EPISODES)]
            for mode, stochastic in (("deterministic", False), ("stochastic", True))
        }
    return {
        "env": env_id,
        "seed": seed,
        "steps": steps,
        "score": float(np.mean(recorder.latest["rewbuffer"])),
        "curve": recorder.curve[:: max(1, len(recorder.curve) // 100)],
        "episodes": recorder.latest["episodes_so_far"],
        "seconds": seconds,
        **evaluations,
        "settings": SETTINGS | HIDDEN,
        "git_commit": commit,
        "versions": package_versions() | {"baselines": importlib.metadata.version("baselines")},
        "platform": platform.platform(),
    }


def is_installed() -> bool:
    """Whether OpenAI Baselines is installed."""
    return importlib.util.find_spec("baselines") is not None


def run_episode(env: GymEnv, act: Callable[..., Any], stochastic: bool) -> float:
    """Return of one episode."""
    ob, done, total = env.reset(), False, 0.0
    while not done:
        ob, reward, done, _ = env.step(act(stochastic, ob)[0])
        total += float(reward)
    return round(total, 3)


def train_in_subprocess(env_id: str, seed: int, steps: int) -> Line:
    """Run `train` in a subprocess, which prints its progress to stderr.

    Raises:
        RuntimeError: if it fails.
    """
    command = [sys.executable, "-m", "benchmarks.paper.original_ppo1", "--one", "--env", env_id]
    command += ["--seeds", str(seed), "--num-timesteps", str(steps)]
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env) as child:
        output = child.stdout.read()
    if child.returncode:
        raise RuntimeError(f"{env_id}, seed {seed}: ended with status {child.returncode}; see the error above")
    return json.loads(output.splitlines()[-1])


def report(tasks: Sequence[str], seeds: Sequence[int], steps: int) -> str:
    """Write the table of the finished trainings; a partial table has its own file name."""
    lines = {
        (line["env"], line["seed"]): line
        for line in ResultFile(BENCHMARK).lines
        if line["steps"] == steps and line["seed"] in seeds
    }
    rows = []
    for env_id in tasks:
        of_task = [line for (env, _), line in sorted(lines.items()) if env == env_id]
        if of_task:
            rows.append(_task_row(env_id, of_task))
    if not rows:
        return "no training has finished yet"
    header = (
        "task",
        "seeds",
        "100 deterministic episodes, mean ± standard deviation over seeds",
        "interquartile mean (95 % interval)",
        "100 stochastic",
        "last 100 of training",
        "seconds",
    )
    title = f"baselines {VERSION}, ppo1, settings of its run_mujoco.py, {steps:,} steps"
    text = f"{title}\n\n{markdown_table(header, rows)}\n"
    path = report_path(BENCHMARK, set(TASKS) <= set(tasks) and set(SEEDS) <= set(seeds) and steps == STEPS)
    path.with_name(f"{path.name}-table.md").write_text(text)
    return text


def _task_row(env_id: str, lines: Sequence[Line]) -> tuple[str, ...]:
    scores = [float(np.mean(line["deterministic"])) for line in lines]
    return (
        env_id,
        str(len(lines)),
        format_mean_std(scores),
        format_interquartile(scores),
        f"{np.mean([line['stochastic'] for line in lines]):,.1f}",
        format_mean_std([line["score"] for line in lines]),
        f"{np.median([line['seconds'] for line in lines]):,.0f}",
    )


def run_trainings(tasks: Sequence[str], seeds: Sequence[int], steps: int, workers: int) -> int:
    """Run the trainings that have no result yet, `workers` at once; returns the number of failures."""
    results, failed = ResultFile(BENCHMARK), 0
    finished = {(line["env"], line["seed"], line["steps"]) for line in results.lines}
    requested = dict.fromkeys((env_id, seed, steps) for seed in seeds for env_id in tasks)
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(train_in_subprocess, *key) for key in requested if key not in finished]
        for future in as_completed(futures):
            try:
                line = future.result()
            except RuntimeError as error:  # the other trainings continue
                failed += 1
                print(f"FAILED: {error}", flush=True)
                continue
            results.add(line)
            mean = np.mean(line["deterministic"])
            print(f"{line['env']}, seed {line['seed']}: {mean:,.1f} in {line['seconds']:.0f} s", flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ids = "Gymnasium ids with Box observations and actions [Swimmer-v4]"
    parser.add_argument("--env", nargs="+", metavar="ID", default=list(TASKS), help=ids)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="[0 1 2 3 4]")
    parser.add_argument("--num-timesteps", type=step_count, default=STEPS, help="[1e6]")
    add_jobs_argument(parser)
    parser.add_argument("--report", action="store_true", help="train nothing; write the table")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.report and not is_installed():
        parser.error(f"OpenAI Baselines is not installed; run pip install --no-deps baselines=={VERSION}")
    if args.one:
        with contextlib.redirect_stdout(sys.stderr):
            line = train(args.env[0], args.seeds[0], args.num_timesteps)
        print(json.dumps(line))
        return 0
    failed = 0 if args.report else run_trainings(args.env, args.seeds, args.num_timesteps, args.jobs)
    print(report(args.env, args.seeds, args.num_timesteps))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
