"""Factor screening: which settings of PPO matter? All are varied together, so every run gives information on every setting.

    python -m benchmarks.returns.factor_screening --runs 64      the first 64 runs of the plan: four tasks
    python -m benchmarks.returns.factor_screening --runs 128     four more tasks
    python -m benchmarks.returns.factor_screening --report       effects from the finished runs
    python -m benchmarks.returns.factor_screening --regression   effects by a regression on all runs, also of earlier plans

Each setting has one of two levels in each run. Runs come in pairs with opposite levels on one task and seed (a fold-over: Box, Hunter
and Hunter 2005, chapter 6). Half the difference of a pair is free of the mean of the task and of products of two settings. The
levels of 32 pairs are columns of a Hadamard matrix (Plackett and Burman 1946), so over 64 runs all effects are orthogonal. Other
settings are those of the current preset `mujoco`; runs with an older preset are ignored. Seeds are from 1000 up, which no reported
result uses. The command can be killed at any moment and restarted (training_queue.py).
"""

import argparse
import sys

import numpy as np

from benchmarks.markdown import markdown_table
from benchmarks.returns.command_line import add_jobs_argument, add_steps_argument, to_arguments
from benchmarks.returns.result_files import Line, ResultFile, TrainingJob, validate_settings
from benchmarks.returns.training_queue import run_queue

BENCHMARK = "screening"
FIRST_SEED = 1000
EPISODES = 20
LONGEST_PLAN = 512  # runs
PAIRS = 32  # rows of the Hadamard matrix
# the first 32 pairs use the first four tasks, the next 32 the others, and so on
TASKS = (
    ("HalfCheetah-v4", "Walker2d-v4", "Ant-v4", "Hopper-v4"),
    ("Swimmer-v4", "Humanoid-v4", "Reacher-v4", "InvertedDoublePendulum-v4"),
)
# unit of return of each task in the regression; differences of one unit have equal weight
UNITS = {
    "HalfCheetah-v4": 1000,
    "Walker2d-v4": 1000,
    "Ant-v4": 1000,
    "Hopper-v4": 700,
    "Swimmer-v4": 50,
    "Humanoid-v4": 1000,
    "Reacher-v4": 0.5,
    "InvertedDoublePendulum-v4": 1000,
}
# Setting: level of the preset `mujoco`, and alternative level. Excluded: `objective`, which Table 1 compares; `normalise_ob`, because
# too many runs without it fail to learn; settings that first trials or the literature rule out, because they would widen all intervals.
FACTORS = {
    # batch shape
    "num_envs": ("8", "32"),
    "timesteps_per_actorbatch": ("2048", "4096"),
    "optim_batchsize": ("128", "64"),
    "optim_epochs": ("10", "15"),
    # size of the update
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
    # value function
    "vf_hid_size": ("none", "128"),
    # policy: noise and inputs
    "init_logstd": ("-1", "-0.5"),
    "ob_clip": ("5", "10"),
}


def pair_signs(pair: int) -> np.ndarray:
    """[factors] of -1 and 1: the levels of the first run of a pair (1: second level). The second run has the opposite."""
    from scipy.linalg import hadamard

    # unpermuted, some settings would be equal in all pairs of a task
    rows = np.random.default_rng(0).permutation(PAIRS)
    return hadamard(PAIRS)[rows[pair % PAIRS], 1 : len(FACTORS) + 1]


def run_levels(number: int) -> np.ndarray:
    """[factors] of 0 and 1 of one run of the plan; runs 2n and 2n + 1 are opposites."""
    return (1 + pair_signs(number // 2) * (-1 if number % 2 else 1)) // 2


def task_of(pair: int) -> str:
    """The task of a pair. A repeated row of the matrix is used on another task."""
    block, row = divmod(pair, PAIRS)
    tasks = TASKS[block % len(TASKS)]
    return tasks[(row + block // len(TASKS)) % len(tasks)]


def jobs(runs: int, steps: int = 1_000_000) -> list[TrainingJob]:
    """The first runs of the plan."""
    plan = []
    for number in range(runs):
        levels = run_levels(number)
        setting = " ".join(f"{name}={choices[level]}" for (name, choices), level in zip(FACTORS.items(), levels))
        arguments = ("--preset", "mujoco", *to_arguments(setting))
        pair = number // 2
        plan.append(
            TrainingJob(
                BENCHMARK,
                setting,
                task_of(pair),
                FIRST_SEED + pair,
                steps,
                arguments,
                EPISODES,
                match_settings=True,
            )
        )
    return plan


def estimate_effects(design: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """Effect of the second level of each factor, by least squares on the differences of pairs.

    Args:
        design: [pairs, factors] of -1 and 1, from `pair_signs`.
        differences: [pairs], score of the first run minus score of the second.

    Returns:
        [factors, 2]: the effect, and half the width of its 95 % interval (Student's t).

    Raises:
        ValueError: if the pairs do not determine all effects.
    """
    from scipy import stats

    pairs, factors = design.shape
    if pairs <= factors or np.linalg.matrix_rank(design) < factors:
        raise ValueError(f"{pairs} complete pairs do not determine {factors} effects; more than {factors} are required")
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ design.T @ (differences / 2)
    variance = np.square(differences / 2 - design @ coefficients).sum() / (pairs - factors)
    half_width = stats.t.ppf(0.975, pairs - factors) * np.sqrt(variance * np.diag(inverse))
    return 2 * np.stack([coefficients, half_width], axis=1)


def report(steps: int) -> str:
    """A Markdown table: settings ordered by effect, and the difference of means on each task.

    Effects are in standard deviations of the runs of a task.
    """
    plan, results = jobs(LONGEST_PLAN, steps), ResultFile(BENCHMARK)
    lines = [results.find(job) for job in plan]
    pairs = [pair for pair in range(len(plan) // 2) if lines[2 * pair] and lines[2 * pair + 1]]
    scores = np.array([[np.mean(lines[2 * pair + i]["deterministic"]) for i in (0, 1)] for pair in pairs])
    scores = scores.reshape(-1, 2)
    design = np.array([pair_signs(pair) for pair in pairs]).reshape(-1, len(FACTORS))
    masks = {env: np.array([task_of(pair) == env for pair in pairs], bool) for env in sum(TASKS, ())}
    masks = {env: mask for env, mask in masks.items() if mask.any()}
    differences = scores[:, 0] - scores[:, 1]
    for mask in masks.values():
        differences[mask] /= max(scores[mask].std(), 1e-9)
    try:
        effects = estimate_effects(design, differences)
    except ValueError as error:
        return f"not enough results: {error}"
    rows = []
    for i in np.argsort(-np.abs(effects[:, 0])):
        name, (level, other) = list(FACTORS.items())[i]
        by_task = [f"{np.mean(design[m, i] * (scores[m, 0] - scores[m, 1])):+,.0f}" for m in masks.values()]
        rows.append((f"{name} {level} -> {other}", f"{effects[i, 0]:+.2f} ± {effects[i, 1]:.2f}", *by_task))
    means = [f"{scores[mask].mean():,.0f} ({2 * mask.sum()})" for mask in masks.values()]
    rows.append(("mean of all runs (runs)", "", *means))
    header = ("setting", "effect, in standard deviations", *(f"{env}, raw" for env in masks))
    return (
        f"{len(pairs)} pairs of runs of {steps:,} steps\n\n{markdown_table(header, rows)}\n\n"
        "raw: difference of the means of a task at the two levels. On a single task the levels of different settings are "
        "partly correlated, so their effects are mixed."
    )


def levels_of_line(line: Line) -> list[int] | None:
    """[factors] of 0 and 1, the levels of a run; None if it has a setting or level that is not in `FACTORS`."""
    settings = dict(part.split("=") for part in line["setting"].split())
    if settings.keys() != FACTORS.keys():
        return None
    if any(settings[name] not in choices for name, choices in FACTORS.items()):
        return None
    return [choices.index(settings[name]) for name, choices in FACTORS.items()]


def regress(levels: np.ndarray, tasks: list[str], scores: np.ndarray) -> np.ndarray:
    """Effects of all settings, by least squares on single runs with one mean per task.

    Args:
        levels: [runs, factors] of 0 and 1.
        tasks: [runs] names.
        scores: [runs].

    Returns:
        [factors, 2]: effect of the second level, and its standard error.

    Raises:
        ValueError: if the runs do not determine all effects.
    """
    design = np.hstack([levels, np.array(tasks)[:, None] == np.unique(tasks)]).astype(float)
    if len(scores) <= design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError(f"{len(scores)} runs do not determine {levels.shape[1]} effects")
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ design.T @ scores
    variance = np.square(scores - design @ coefficients).sum() / (len(scores) - design.shape[1])
    return np.stack([coefficients, np.sqrt(variance * np.diag(inverse))], axis=1)[: levels.shape[1]]


def regression_report(steps: int) -> str:
    """A Markdown table of `regress` on all lines of any plan and preset; other settings were those of the preset then."""
    lines = [
        (line, levels)
        for line in ResultFile(BENCHMARK).lines
        if line["steps"] == steps and (levels := levels_of_line(line)) is not None
    ]
    scores = np.array([np.mean(line["deterministic"]) / UNITS[line["env"]] for line, _ in lines])
    all_levels = np.array([levels for _, levels in lines]).reshape(-1, len(FACTORS))
    try:
        effects = regress(all_levels, [line["env"] for line, _ in lines], scores)
    except ValueError as error:
        return f"not enough results: {error}"
    rows = [
        (f"{name} {FACTORS[name][0]} -> {FACTORS[name][1]}", f"{effect:+.2f} ± {error:.2f}")
        for name, (effect, error) in sorted(zip(FACTORS, effects), key=lambda row: -abs(row[1][0]))
    ]
    units = ", ".join(f"{unit:,} on {env}" for env, unit in UNITS.items())
    table = markdown_table(("setting", "effect ± standard error"), rows)
    return f"{len(lines)} runs of {steps:,} steps\n\n{table}\n\nUnits: {units}."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=int, default=64, help=f"number of runs from the start of the plan, at most {LONGEST_PLAN} [64]"
    )
    add_steps_argument(parser)
    add_jobs_argument(parser)
    parser.add_argument("--report", action="store_true", help="train nothing; show the effects")
    parser.add_argument("--regression", action="store_true", help="train nothing; show the regression on all runs")
    args = parser.parse_args()
    if args.regression:
        print(regression_report(args.num_timesteps))
        return 0
    if not 1 <= args.runs <= LONGEST_PLAN:
        parser.error(f"invalid --runs {args.runs}: must be from 1 to {LONGEST_PLAN}")
    plan = jobs(args.runs, args.num_timesteps)
    if not args.report:
        validate_settings(plan)
    failed = 0 if args.report else run_queue(plan, args.jobs)
    print(report(args.num_timesteps))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
