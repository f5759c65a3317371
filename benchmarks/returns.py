"""Returns after a million steps on nine MuJoCo tasks, beside the best published PPO.

    python benchmarks/returns.py                                        nine tasks, seeds 0 to 4
    python benchmarks/returns.py --env Hopper-v4 --seeds 0              one row's first seed
    python benchmarks/returns.py --preset ppo1                          the 2017 settings on the paper's seven tasks
    python benchmarks/returns.py --group others                         tasks that no preset was tuned on
    python benchmarks/returns.py --group ranks                          Hopper and HalfCheetah on eight ranks

May be killed at any moment and started again (training_queue.py).
"""
import argparse
import os
import sys

import numpy as np
from scores import curve_figure, interquartile_interval, markdown_table
from training_queue import RESULTS, Job, Results, run_queue

BENCHMARK, EPISODES = "returns", 100
# the best published PPO after a million steps, and the best after three million or the aim set beyond it
NINE = {
    "Ant-v4": (3258, 4079),
    "HalfCheetah-v4": (5819, 7337),
    "Hopper-v4": (2609, 3128),
    "Walker2d-v4": (4000, 4896),
    "Swimmer-v4": (282, 340),
    "Humanoid-v4": (787, 1360),
    "Reacher-v4": (-4.1, -3.7),
    "InvertedPendulum-v4": (1000, None),
    "InvertedDoublePendulum-v4": (9231, 9340),
}
# Schulman et al. 2017, figure 3, after a million steps
PAPER = {"HalfCheetah-v4": (1800, None), "Hopper-v4": (2330, None), "Walker2d-v4": (3460, None), "Swimmer-v4": (108, None), "Reacher-v4": (-7, None),
         "InvertedPendulum-v4": (1000, None), "InvertedDoublePendulum-v4": (8000, None)}
OTHERS = dict.fromkeys(("Hopper-v5", "Walker2d-v5", "Pusher-v5", "BipedalWalker-v3", "LunarLander-v3", "Acrobot-v1"), (None, None))
RANKS = dict.fromkeys(("Hopper-v4", "HalfCheetah-v4"), (None, None))
# group: tasks, seeds, ranks
GROUPS = {"nine": (NINE, (0, 1, 2, 3, 4), 1), "others": (OTHERS, (0, 1, 2), 1), "ranks": (RANKS, (0, 1, 2), 8)}
# the few numbers that really differ by task, at most two a task
OVERRIDES = {"Swimmer-v4": ("--gamma", "0.9999")}


def setting_of(preset, ranks):
    """What a line of the results is filed under."""
    return (preset or "default") + (f", {ranks} ranks" if ranks > 1 else "")


def jobs(tasks, seeds, steps=1_000_000, preset=None, ranks=1):
    """All trainings, seed by seed; without a preset, with what `run.py` itself takes for a task."""
    def words(env):
        return ("--preset", preset) if preset else OVERRIDES.get(env, ())
    return [Job(BENCHMARK, setting_of(preset, ranks), env, seed, steps, words(env), EPISODES, ranks) for seed in seeds for env in tasks]


def rows_of(lines, bars):
    """The table's rows: a task, its seeds, what its final policies earn, and the bars."""
    for env, (floor, aim) in bars.items():
        own = [line for line in lines if line["env"] == env]
        if not own:
            continue
        means = {how: np.array([np.mean(line[how]) for line in own]) for how in ("deterministic", "stochastic")}
        middle, low, high = interquartile_interval(means["deterministic"])
        training = np.mean([line["score"] for line in own])
        yield (env, str(len(own)), f"{means['deterministic'].mean():,.1f} ± {means['deterministic'].std():,.1f}",
               f"{middle:,.1f} ({low:,.1f} to {high:,.1f})", f"{means['stochastic'].mean():,.1f}", f"{training:,.1f}",
               *("" if bar is None else f"{bar:,}" + (" reached" if means["deterministic"].mean() >= bar else " missed") for bar in (floor, aim)),
               f"{np.median([line['seconds'] for line in own]):,.0f}")


def report(bars, seeds, steps, setting, name):
    """The table of what has finished; written beside the raw results, with the curves, if it has a name."""
    lines = [line for line in Results(BENCHMARK).lines
             if line["setting"] == setting and line["steps"] == steps and line["seed"] in seeds and line["env"] in bars]
    if not lines:
        return "nothing has finished yet"
    header = ("task", "seeds", "100 deterministic episodes, mean ± deviation over seeds", "interquartile mean (95 % interval)", "100 stochastic",
              "last 100 of training", "best published", "aim", "seconds")
    text = f"{setting}, {steps:,} steps\n\n{markdown_table(header, list(rows_of(lines, bars)))}\n"
    if name:
        (RESULTS / f"{name}-table.md").write_text(text)
        curve_figure(RESULTS / f"{name}.png", lines, [setting], [env for env in bars if any(line["env"] == env for line in lines)])
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", choices=GROUPS, default="nine", help="which tasks [nine]")
    parser.add_argument("--env", nargs="+", metavar="ID", help="some of them, or any other [all of the group]")
    parser.add_argument("--seeds", type=int, nargs="+", help="seeds [0 to 4; 0 to 2 for the other groups]")
    parser.add_argument("--preset", help="one preset for all tasks [run.py's own choice, with this benchmark's overrides]")
    parser.add_argument("--num-timesteps", type=lambda text: int(float(text)), default=1_000_000, help="environment steps of a training, over all ranks [1e6]")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="trainings at once [the cores]")
    parser.add_argument("--report", action="store_true", help="only write the table and figure of what has finished")
    args = parser.parse_args()
    tasks, seeds, ranks = GROUPS[args.group]
    bars = PAPER if args.preset == "ppo1" and args.group == "nine" else tasks
    bars = {env: bars.get(env, (None, None)) for env in args.env or bars}
    seeds = args.seeds or seeds
    failed = 0
    if not args.report:
        failed = run_queue(jobs(bars, seeds, args.num_timesteps, args.preset, ranks), args.jobs if ranks == 1 else 1)
    whole = not args.env and args.num_timesteps == 1_000_000
    name = "-".join(filter(None, ("returns", args.preset, args.group if args.group != "nine" else None))) if whole else None
    print(report(bars, seeds, args.num_timesteps, setting_of(args.preset, ranks), name))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
