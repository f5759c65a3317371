"""Which settings of PPO matter, all tried together: every run has each setting at one of two levels, so that every run tells of every setting.

    python -m benchmarks.returns.factor_screening --runs 64      the first 64 runs of the plan: four tasks
    python -m benchmarks.returns.factor_screening --runs 128     four more tasks
    python -m benchmarks.returns.factor_screening --report       effects of what has finished
    python -m benchmarks.returns.factor_screening --regression   effects by a regression on all runs that there ever were, of earlier plans, too

Runs come in pairs with opposite levels on one task and seed (a fold-over: Box, Hunter and Hunter 2005, chapter 6): half the difference of a pair holds
no mean of a task and no product of two settings. The levels of 32 pairs are columns of a Hadamard matrix (Plackett and Burman 1946): over 64 runs
no effect is mixed with another. Other settings are the preset `mujoco`'s as it stands; runs of an older one do not count. Seeds are from 1000 up, which
no reported result uses. May be killed at any moment and started again (training_queue.py).
"""

import argparse
import sys

import numpy as np

from benchmarks.returns.result_files import Job, Results, check
from benchmarks.returns.scores import markdown_table
from benchmarks.returns.training_queue import add_jobs, run_queue

BENCHMARK, FIRST_SEED, EPISODES, LONGEST_PLAN, PAIRS = "screening", 1000, 20, 512, 32
# 32 pairs on the first four, 32 on the others, and so on
TASKS = (
    ("HalfCheetah-v4", "Walker2d-v4", "Ant-v4", "Hopper-v4"),
    ("Swimmer-v4", "Humanoid-v4", "Reacher-v4", "InvertedDoublePendulum-v4"),
)
UNITS = {
    "HalfCheetah-v4": 1000,
    "Walker2d-v4": 1000,
    "Ant-v4": 1000,
    "Hopper-v4": 700,
    "Swimmer-v4": 50,
    "Humanoid-v4": 1000,
    "Reacher-v4": 0.5,
    "InvertedDoublePendulum-v4": 1000,
}  # of a regression, returns that weigh alike
# Setting: as it is in the preset `mujoco`, and what it is compared with. Left out: `objective`, which Table 1 compares, and `normalise_ob`, without
# which so many runs come to nothing that the others tell little; and what first trials or the literature speak against: they would widen all intervals.
FACTORS = {
    # batch shape
    "num_envs": ("8", "32"),
    "timesteps_per_actorbatch": ("2048", "4096"),
    "optim_batchsize": ("128", "64"),
    "optim_epochs": ("10", "15"),
    # the step, and what holds it back
    "optim_stepsize": ("3e-4", "5e-4"),
    "vf_stepsize": ("none", "1e-3"),
    "clip_schedule": ("constant", "linear"),
    "max_grad_norm": ("none", "0.5"),
    # targets and advantages
    "lam": ("0.9", "0.95"),
    "gamma": ("0.99", "0.995"),
    "stagger": ("true", "false"),
    "recompute_adv": ("false", "true"),
    "standardise_adv": ("true", "false"),
    # the value function's fit
    "vf_hid_size": ("none", "128"),
    # the policy: noise, what it sees
    "init_logstd": ("-1", "-0.5"),
    "ob_clip": ("5", "10"),
}


def signs(pair):
    """[factors] of -1 and 1: the levels of a pair's first run, second and first level; its second run has the opposite."""
    from scipy.linalg import hadamard

    rows = np.random.default_rng(0).permutation(PAIRS)  # or, on one task, some settings would go together in all pairs
    return hadamard(PAIRS)[rows[pair % PAIRS], 1 : len(FACTORS) + 1]


def levels(number):
    """[factors] of 0 and 1 of one run of the plan; runs 2 n and 2 n + 1 are opposites."""
    return (1 + signs(number // 2) * (-1 if number % 2 else 1)) // 2


def task_of(pair):
    """A pair's task. When a row of the matrix comes again, it is on another one."""
    block, row = divmod(pair, PAIRS)
    tasks = TASKS[block % len(TASKS)]
    return tasks[(row + block // len(TASKS)) % len(tasks)]


def jobs(runs, steps=1_000_000):
    """The first runs of the plan."""
    found = []
    for number in range(runs):
        chosen = [f"{name}={choices[level]}" for (name, choices), level in zip(FACTORS.items(), levels(number))]
        words = [
            word for one in chosen for word in ("--" + one.partition("=")[0].replace("_", "-"), one.partition("=")[2])
        ]
        pair = number // 2
        found.append(
            Job(
                BENCHMARK,
                " ".join(chosen),
                task_of(pair),
                FIRST_SEED + pair,
                steps,
                ("--preset", "mujoco", *words),
                EPISODES,
                by_settings=True,
            )
        )
    return found


def effects(design, differences):
    """What the second level of each factor adds, by least squares on the differences of pairs.

    Args:
        design: [pairs, factors] of -1 and 1, as `signs` has them.
        differences: [pairs]: the first run's score less the second's.

    Returns:
        [factors, 2]: the effect, and half its 95 % interval (Student's t).

    Raises:
        ValueError: if the pairs cannot tell all factors apart.
    """
    from scipy import stats

    pairs, factors = design.shape
    if pairs <= factors or np.linalg.matrix_rank(design) < factors:
        raise ValueError(f"{pairs} whole pairs cannot tell {factors} settings apart; it takes more than {factors}")
    inverse = np.linalg.inv(design.T @ design)
    found = inverse @ design.T @ (differences / 2)
    variance = np.square(differences / 2 - design @ found).sum() / (pairs - factors)
    half = stats.t.ppf(0.975, pairs - factors) * np.sqrt(variance * np.diag(inverse))
    return 2 * np.stack([found, half], axis=1)


def report(steps):
    """A Markdown table: settings by the size of their effect, in deviations of a task's runs, and the difference of means on each task as it is."""
    results, plan = Results(BENCHMARK), jobs(LONGEST_PLAN, steps)
    lines = [results.finished(job) for job in plan]
    pairs = [
        pair for pair in range(len(plan) // 2) if lines[2 * pair] and lines[2 * pair + 1]
    ]  # what has finished on both sides
    scores = np.array([[np.mean(lines[2 * pair + i]["deterministic"]) for i in (0, 1)] for pair in pairs]).reshape(
        -1, 2
    )
    design = np.array([signs(pair) for pair in pairs]).reshape(-1, len(FACTORS))
    tasks = {
        env: own for env in sum(TASKS, ()) if (own := np.array([task_of(pair) == env for pair in pairs], bool)).any()
    }
    differences = scores[:, 0] - scores[:, 1]
    for own in tasks.values():
        differences[own] /= max(scores[own].std(), 1e-9)
    try:
        found = effects(design, differences)
    except ValueError as error:
        return f"not yet: {error}"
    rows = []
    for i in np.argsort(-np.abs(found[:, 0])):
        name, (now, other) = list(FACTORS.items())[i]
        by_task = [f"{np.mean(design[own, i] * (scores[own, 0] - scores[own, 1])):+,.0f}" for own in tasks.values()]
        rows.append((f"{name} {now} -> {other}", f"{found[i, 0]:+.2f} ± {found[i, 1]:.2f}", *by_task))
    rows.append(
        ("mean of all runs (runs)", "", *(f"{scores[own].mean():,.0f} ({2 * own.sum()})" for own in tasks.values()))
    )
    header = ("setting", "effect, in deviations", *(f"{env}, raw" for env in tasks))
    return (
        f"{len(pairs)} pairs of runs of {steps:,} steps\n\n{markdown_table(header, rows)}\n\n"
        "raw: the difference of a task's means at the two levels, to which the other settings, at levels that go partly together on one task, add."
    )


def of_a_line(line):
    """[factors] of 0 and 1, the levels of a run's line; None if it has another setting or level than `FACTORS`."""
    words = dict(word.split("=") for word in line["setting"].split())
    if words.keys() != FACTORS.keys() or any(words[name] not in choices for name, choices in FACTORS.items()):
        return None
    return [choices.index(words[name]) for name, choices in FACTORS.items()]


def regress(chosen, tasks, scores):
    """Effects of all settings together, by least squares on runs, each with its task's mean.

    Args:
        chosen: [runs, factors] of 0 and 1.
        tasks: [runs] names.
        scores: [runs].

    Returns:
        [factors, 2]: what the second level adds, and its standard error.

    Raises:
        ValueError: if the runs cannot tell all settings apart.
    """
    design = np.hstack([chosen, np.array(tasks)[:, None] == np.unique(tasks)]).astype(float)
    if len(scores) <= design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError(f"{len(scores)} runs cannot tell {chosen.shape[1]} settings apart")
    inverse = np.linalg.inv(design.T @ design)
    found = inverse @ design.T @ scores
    variance = np.square(scores - design @ found).sum() / (len(scores) - design.shape[1])
    return np.stack([found, np.sqrt(variance * np.diag(inverse))], axis=1)[: chosen.shape[1]]


def regression(steps):
    """A Markdown table of `regress` on all lines, whatever the plan was and the preset: other settings were then what it had."""
    lines = [
        (line, own)
        for line in Results(BENCHMARK).lines
        if line["steps"] == steps and (own := of_a_line(line)) is not None
    ]
    scores = [np.mean(line["deterministic"]) / UNITS[line["env"]] for line, _ in lines]
    chosen = np.array([own for _, own in lines]).reshape(-1, len(FACTORS))
    try:
        found = regress(chosen, [line["env"] for line, _ in lines], np.array(scores))
    except ValueError as error:
        return f"not yet: {error}"
    rows = [
        (f"{name} {FACTORS[name][0]} -> {FACTORS[name][1]}", f"{effect:+.2f} ± {error:.2f}")
        for name, (effect, error) in sorted(zip(FACTORS, found), key=lambda row: -abs(row[1][0]))
    ]
    units = ", ".join(f"{unit:,} on {env}" for env, unit in UNITS.items())
    return f"{len(lines)} runs of {steps:,} steps\n\n{markdown_table(('setting', 'effect ± standard error'), rows)}\n\nIn units of {units}."


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=int, default=64, help=f"of the plan, from its start, at most {LONGEST_PLAN} [64]"
    )
    parser.add_argument(
        "--num-timesteps",
        type=lambda text: int(float(text)),
        default=1_000_000,
        help="environment steps of a training [1e6]",
    )
    add_jobs(parser)
    parser.add_argument("--report", action="store_true", help="only show what has finished")
    parser.add_argument("--regression", action="store_true", help="only show the regression on all runs")
    args = parser.parse_args()
    if args.regression:
        print(regression(args.num_timesteps))
        return 0
    if not 1 <= args.runs <= LONGEST_PLAN:
        parser.error(f"--runs {args.runs}; give 1 to {LONGEST_PLAN}")
    plan = jobs(args.runs, args.num_timesteps)
    check(() if args.report else plan)
    failed = 0 if args.report else run_queue(plan, args.jobs)
    print(report(args.num_timesteps))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
