"""Which settings of PPO matter, all tried together: every run draws each setting from two levels, so that every run tells of every setting.

    python benchmarks/screening.py --runs 64      the first 64 runs of the plan
    python benchmarks/screening.py --report       effects of what has finished

Runs come in pairs with opposite levels on one task and seed (a fold-over: Box, Hunter and Hunter 2005, chapter 6), so that the two levels of a
setting are compared on the same tasks, and the product of two settings is not taken for a third. Seeds are from 1000 up, which no reported result
uses. May be killed at any moment and started again (training_queue.py).
"""
import argparse
import os
import sys

import numpy as np
from scores import markdown_table
from training_queue import Job, Results, run_queue

BENCHMARK, FIRST_SEED, EPISODES, LONGEST_PLAN = "screening", 1000, 20, 1000
TASKS = ("HalfCheetah-v4", "Walker2d-v4", "Ant-v4", "Hopper-v4")
# setting of the preset `mujoco`: as it is, and what it is compared with
FACTORS = {
    "num_envs": ("1", "8"),
    "timesteps_per_actorbatch": ("2048", "1024"),
    "optim_batchsize": ("64", "128"),
    "optim_epochs": ("10", "20"),
    "optim_stepsize": ("3e-4", "5e-4"),
    "lam": ("0.95", "0.9"),
    "gamma": ("0.99", "0.995"),
    "init_logstd": ("-0.5", "-1"),
    "hid_size": ("64", "128"),
    "vf_hid_size": ("none", "256"),
    "recompute_adv": ("false", "true"),
    "standardise_adv": ("true", "false"),
    "max_grad_norm": ("0.5", "none"),
    "clip_schedule": ("constant", "linear"),
}


def levels(number):
    """[factors] of 0 and 1 of one run of the plan; runs 2 n and 2 n + 1 are opposites."""
    drawn = np.random.default_rng(number // 2).integers(0, 2, len(FACTORS))
    return 1 - drawn if number % 2 else drawn


def jobs(runs, steps=1_000_000):
    """The first runs of the plan."""
    found = []
    for number in range(runs):
        chosen = [f"{name}={choices[level]}" for (name, choices), level in zip(FACTORS.items(), levels(number))]
        words = [word for one in chosen for word in ("--" + one.partition("=")[0].replace("_", "-"), one.partition("=")[2])]
        pair = number // 2
        found.append(Job(BENCHMARK, " ".join(chosen), TASKS[pair % len(TASKS)], FIRST_SEED + pair, steps, ("--preset", "mujoco", *words), EPISODES))
    return found


def effects(chosen, scores, tasks=1):
    """What the second level of each factor adds, by least squares on all of them at once.

    Args:
        chosen: [runs, factors] of 0 and 1.
        scores: [runs].
        tasks: how many means have been taken off the scores.

    Returns:
        [factors, 2]: the effect, and half its 95 % interval (Student's t).

    Raises:
        ValueError: if the runs cannot tell all factors apart.
    """
    from scipy import stats
    design = np.column_stack([np.ones(len(scores)), 2.0 * chosen - 1])
    free = len(scores) - design.shape[1] - (tasks - 1)
    if free < 1 or np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError(f"{len(scores)} runs cannot tell {chosen.shape[1]} settings apart; pairs are opposites, so it takes more than twice as many")
    inverse = np.linalg.pinv(design.T @ design)
    found = inverse @ design.T @ scores
    variance = np.square(scores - design @ found).sum() / free
    half = stats.t.ppf(0.975, free) * np.sqrt(variance * np.diag(inverse))
    return 2 * np.stack([found, half], axis=1)[1:]


def report(steps):
    """A Markdown table: settings by the size of their effect, in deviations of a task's runs, and the difference of means on each task."""
    plan = {job.key: levels(number) for number, job in enumerate(jobs(LONGEST_PLAN, steps))}
    lines = {(line["benchmark"], line["setting"], line["env"], line["seed"], line["steps"]): line for line in Results(BENCHMARK).lines}
    lines = {key: line for key, line in lines.items() if key in plan}
    chosen = np.array([plan[key] for key in lines]).reshape(-1, len(FACTORS))
    returns = np.array([np.mean(line["deterministic"]) for line in lines.values()])
    tasks = {env: own for env in TASKS if (own := np.array([line["env"] == env for line in lines.values()], bool)).any()}
    standard = np.zeros(len(lines))
    for own in tasks.values():
        standard[own] = (returns[own] - returns[own].mean()) / max(returns[own].std(), 1e-9)
    try:
        found = effects(chosen, standard, len(tasks))
    except ValueError as error:
        return f"not yet: {error}"
    rows = []
    for i in np.argsort(-np.abs(found[:, 0])):
        name, (now, other) = list(FACTORS.items())[i]
        parts = [[returns[own & (chosen[:, i] == level)] for level in (0, 1)] for own in tasks.values()]
        differences = [f"{new.mean() - old.mean():+,.0f}" if len(old) and len(new) else "" for old, new in parts]
        rows.append((f"{name} {now} -> {other}", f"{found[i, 0]:+.2f} ± {found[i, 1]:.2f}", *differences))
    rows.append(("mean of all runs (runs)", "", *(f"{returns[own].mean():,.0f} ({own.sum()})" for own in tasks.values())))
    return f"{len(lines)} runs of {steps:,} steps\n\n" + markdown_table(("setting", "effect, in deviations", *tasks), rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=64, help="of the plan, from its start [64]")
    parser.add_argument("--num-timesteps", type=lambda text: int(float(text)), default=1_000_000, help="environment steps of a training [1e6]")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="trainings at once [the cores]")
    parser.add_argument("--report", action="store_true", help="only show what has finished")
    args = parser.parse_args()
    failed = 0 if args.report else run_queue(jobs(args.runs, args.num_timesteps), args.jobs)
    print(report(args.num_timesteps))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
