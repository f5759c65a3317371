"""Returns of final policies beside the best published PPO, and of other tasks, ranks and lengths. Protocol and results: results/returns.md.

    python -m benchmarks.returns.final_policies                                        nine tasks, a million steps, seeds 0 to 4
    python -m benchmarks.returns.final_policies --env Hopper-v4 --seeds 0              one row's first seed
    python -m benchmarks.returns.final_policies --group references                     the nine on eleven seeds more, for the return tests
    python -m benchmarks.returns.final_policies --group paper                          the 2017 settings on the paper's seven tasks
    python -m benchmarks.returns.final_policies --group paper --with "bootstrap_time_limits=false"    the same, time limits taken for deaths as in 2017
    python -m benchmarks.returns.final_policies --group others                         tasks that no preset was tuned on
    python -m benchmarks.returns.final_policies --group ranks                          Hopper and HalfCheetah on eight ranks, beside one
    python -m benchmarks.returns.final_policies --group ranks-ppo1                     the same with the 2017 settings, whose batch grows with the ranks
    python -m benchmarks.returns.final_policies --group long                           Pong for 3 million steps, Humanoid for 10

May be killed at any moment and started again (training_queue.py). A line of results/returns.jsonl counts for what the settings are now.
"""

import argparse
import sys
from dataclasses import dataclass

from benchmarks.returns.group_table import table
from benchmarks.returns.result_files import Job, Results, check
from benchmarks.returns.scores import curve_figure
from benchmarks.returns.training_queue import add_jobs, report_place, run_queue, words_of
from common.errors import UserError

BENCHMARK = "returns"
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
PAPER = {
    "HalfCheetah-v4": (1800, None),
    "Hopper-v4": (2330, None),
    "Walker2d-v4": (3460, None),
    "Swimmer-v4": (108, None),
    "Reacher-v4": (-7, None),
    "InvertedPendulum-v4": (1000, None),
    "InvertedDoublePendulum-v4": (8000, None),
}
OTHERS = dict.fromkeys(
    ("Hopper-v5", "Walker2d-v5", "Pusher-v5", "BipedalWalker-v3", "LunarLander-v3", "Acrobot-v1"), (None, None)
)
RANKS = dict.fromkeys(("Hopper-v4", "HalfCheetah-v4"), (None, None))
LONG = {"PongNoFrameskip-v4": (18, None), "Humanoid-v4": (3000, None)}
# Tasks whose numbers differ, at most two fields each, beside the one preset of all. Walker2d's gain is within the spread of seeds: results/returns.md.
OVERRIDES = {
    "Walker2d-v4": {"hid_size": "128"},
    "Swimmer-v4": {"gamma": "0.9999", "lam": "0.995"},
    "Humanoid-v4": {"preset": "mujoco"},
    "Reacher-v4": {"gamma": "0.95", "lam": "0.95"},
    "InvertedDoublePendulum-v4": {"lam": "0.98", "ob_min_std": "0.1"},
}
# of the final policy, deterministic and stochastic; Pong's games are long, and its bar is on the last of training
EPISODES = {"PongNoFrameskip-v4": 0}
TEST_SEEDS = (50, 51, 52)  # tests/returns/test_long_returns.py trains them: no result and no reference is of them
REFERENCE_SEEDS = range(
    200, 211
)  # beside the reported ones, in the references of a million steps: nothing is tuned on them


@dataclass(frozen=True)
class Group:
    """Tasks that are shown in one table.

    Attributes:
        tasks: {id: (floor, aim)}; None is no bar.
        bars: what the bars are, in the table's header.
        seeds, ranks: of each.
        steps: of each, or by task.
        preset: of each; None: run.py's own choice.
        overrides: {id: {setting: value}} beside it.
    """

    tasks: dict
    bars: tuple = ("", "")
    seeds: tuple = (0, 1, 2)
    ranks: int = 1
    steps: int | dict = 1_000_000
    preset: str | None = None
    overrides: dict | None = None

    def steps_of(self, env):
        """How long a task is trained."""
        return self.steps.get(env, 1_000_000) if isinstance(self.steps, dict) else self.steps


GROUPS = {
    "nine": Group(NINE, ("best published", "aim"), (0, 1, 2, 3, 4), overrides=OVERRIDES),
    "references": Group(NINE, ("best published", "aim"), (0, 1, 2, 3, 4, *REFERENCE_SEEDS), overrides=OVERRIDES),
    "paper": Group(PAPER, ("the paper, 2017", ""), (0, 1, 2, 3, 4), preset="ppo1"),
    "others": Group(OTHERS),
    "ranks": Group(RANKS, ranks=8),
    "ranks-ppo1": Group(RANKS, ranks=8, steps=8_000_000, preset="ppo1"),
    "long": Group(LONG, ("hoped for", ""), (0,), steps={"PongNoFrameskip-v4": 3_000_000, "Humanoid-v4": 10_000_000}),
}


def jobs(name, tasks=None, seeds=None, steps=None, preset=None, more="", ranks=None):
    """The trainings of a group, seed by seed.

    Args:
        name: of the group; what else is given takes the place of its own.
        more: "name=value name=value", further settings.
    """
    group = GROUPS[name]
    preset, ranks = preset or group.preset, ranks or group.ranks
    setting = " ".join(filter(None, (preset or "default", more))) + (f", {ranks} ranks" if ranks > 1 else "")

    def words(env):
        own = {"preset": preset} if preset else (group.overrides or {}).get(env, {})
        return words_of(" ".join(f"{name}={value}" for name, value in own.items())) + words_of(more)

    return [
        Job(
            BENCHMARK,
            setting,
            env,
            seed,
            steps or group.steps_of(env),
            words(env),
            EPISODES.get(env, 100),
            ranks,
            by_settings=True,
        )
        for seed in dict.fromkeys(seeds or group.seeds)
        for env in dict.fromkeys(tasks or group.tasks)
    ]


def report(name, plan, beside=()):
    """The table of what has finished of a group's jobs; written beside the raw results, with the curves, under a name of its own if it is not the whole.

    Args:
        beside: jobs of one rank that the group's are held against.
    """
    results, group = Results(BENCHMARK), GROUPS[name]
    found = [(job, line) for job in plan if (line := results.finished(job))]
    if not found:
        return "nothing has finished yet"
    text = table(
        group,
        found,
        [line for job in beside if (line := results.finished(job))],
        sum(results.outdated(job) for job in plan),
    )
    tasks = dict.fromkeys(job.env for job in plan)
    asked = {job.key for job in plan}
    place = report_place(
        BENCHMARK if name == "nine" else f"{BENCHMARK}-{name}",
        asked >= {job.key for job in jobs(name)} and set(tasks) == set(group.tasks),
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    place.with_name(f"{place.name}-table.md").write_text(text)
    curve_figure(
        place.with_suffix(".png"),
        [line for _, line in found],
        [plan[0].setting],
        [env for env in tasks if any(job.env == env for job, _ in found)],
        group.bars[0],
        {env: group.tasks.get(env, (None,))[0] for env in tasks},
    )
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", choices=GROUPS, default="nine", help="which tasks [nine]")
    parser.add_argument("--env", nargs="+", metavar="ID", help="some of them, or any other [all of the group]")
    parser.add_argument("--seeds", type=int, nargs="+", help="seeds [0 to 4, 0 to 2 or 0, by group]")
    parser.add_argument("--preset", help="another preset for all tasks [the group's]")
    parser.add_argument(
        "--with",
        dest="more",
        default="",
        metavar="SETTINGS",
        help='"name=value name=value": further settings for all tasks',
    )
    parser.add_argument(
        "--num-timesteps",
        type=lambda text: int(float(text)),
        help="environment steps of a training, over all ranks [the group's]",
    )
    add_jobs(parser, "the cores; one of several ranks")
    parser.add_argument("--report", action="store_true", help="only write the table and figure of what has finished")
    args = parser.parse_args()
    if kept := set(args.seeds or ()) & set(TEST_SEEDS):
        parser.error(
            f"seed {kept.pop()} is trained by tests/returns/test_long_returns.py, and no result may be of it; choose another"
        )
    what = {"tasks": args.env, "seeds": args.seeds, "preset": args.preset, "more": args.more}
    try:
        plan = jobs(args.group, steps=args.num_timesteps, **what)
        if not args.report:
            check(plan)
        beside = (
            jobs(args.group, steps=1_000_000, **what | {"more": ""}, ranks=1) if plan[0].ranks > 1 else ()
        )  # of the preset as it is
    except (UserError, ValueError) as error:
        parser.error(str(error))
    failed = 0 if args.report else run_queue(plan, args.jobs if plan[0].ranks == 1 else 1)
    print(report(args.group, plan, beside))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
