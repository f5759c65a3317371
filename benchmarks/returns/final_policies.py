"""Returns of final policies compared with published PPO results; also other tasks, several ranks and longer trainings.

    python -m benchmarks.returns.final_policies                             nine tasks, 1M steps, seeds 0 to 4
    python -m benchmarks.returns.final_policies --env Hopper-v4 --seeds 0   first seed of one row
    python -m benchmarks.returns.final_policies --group references          eleven more seeds, for the return tests
    python -m benchmarks.returns.final_policies --group paper               2017 settings on the seven tasks of the paper
    python -m benchmarks.returns.final_policies --group paper --with "bootstrap_time_limits=false"
                                                                            the same, time limits as termination (2017)
    python -m benchmarks.returns.final_policies --group others              tasks that no preset was tuned on
    python -m benchmarks.returns.final_policies --group ranks               Hopper and HalfCheetah, eight ranks and one
    python -m benchmarks.returns.final_policies --group ranks-ppo1          the same with the 2017 settings; the batch
                                                                            grows with the number of ranks
    python -m benchmarks.returns.final_policies --group long                Pong for 3M steps, Humanoid for 10M

Protocol and results: results/returns.md. The command can be killed at any moment and restarted (training_queue.py). A line of
results/returns.jsonl is used only if its settings equal the current ones.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence

from benchmarks.returns.command_line import (
    add_jobs_argument,
    add_kernels_argument,
    check_kernels,
    report_path,
    step_count,
    to_arguments,
)
from benchmarks.returns.figures import curve_figure
from benchmarks.returns.group_table import Group, format_group
from benchmarks.returns.published import BEST_ON_POLICY, BEST_PPO, PAPER_2017
from benchmarks.returns.result_files import OWN_KERNELS, ResultFile, TrainingJob, validate_settings, with_kernels
from benchmarks.returns.training_queue import run_queue
from common.errors import UserError

BENCHMARK = "returns"
NINE = {task: (BEST_PPO[task].value, BEST_ON_POLICY[task].value) for task in BEST_PPO}
# Schulman et al. 2017, figure 3, after 1M steps
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
# Task-specific settings, at most two for each task. The gain on Walker2d is within the spread of seeds: results/returns.md
OVERRIDES = {
    "Walker2d-v4": {"hid_size": "128"},
    "Swimmer-v4": {"gamma": "0.9999", "lam": "0.995"},
    "Humanoid-v4": {"preset": "mujoco"},
    "Reacher-v4": {"gamma": "0.95", "lam": "0.95"},
    "InvertedDoublePendulum-v4": {"lam": "0.98", "ob_min_std": "0.1"},
}
# evaluation episodes of the final policy, deterministic and stochastic each; none for Pong, whose games are long and whose
# reference is the last 100 training episodes
EPISODES = {"PongNoFrameskip-v4": 0}
TEST_SEEDS = (50, 51, 52)  # trained by tests/returns/test_long_returns.py; excluded from results and references
# of the final results: not trained before all settings are chosen; excluded from tuning
FINAL_SEEDS = range(2000, 2016)
REFERENCE_SEEDS = range(200, 211)  # with the seeds of the group nine, the references of 1M steps; excluded from tuning

REFERENCES = ("published PPO", "published, any on-policy")
SOURCES = {task: (BEST_PPO[task].source, BEST_ON_POLICY[task].source) for task in NINE}

GROUPS = {
    "nine": Group(NINE, REFERENCES, SOURCES, (0, 1, 2, 3, 4), overrides=OVERRIDES),
    "references": Group(NINE, REFERENCES, SOURCES, (0, 1, 2, 3, 4, *REFERENCE_SEEDS), overrides=OVERRIDES),
    "paper": Group(
        PAPER, ("the paper, 2017", ""), dict.fromkeys(PAPER, (PAPER_2017, "")), (0, 1, 2, 3, 4), preset="ppo1"
    ),
    "others": Group(OTHERS),
    "ranks": Group(RANKS, ranks=8),
    "ranks-ppo1": Group(RANKS, ranks=8, steps=8_000_000, preset="ppo1"),
    "long": Group(LONG, ("target", ""), seeds=(0,), steps={"PongNoFrameskip-v4": 3_000_000, "Humanoid-v4": 10_000_000}),
}


def jobs(
    name: str,
    tasks: Iterable[str] | None = None,
    seeds: Iterable[int] | None = None,
    steps: int | None = None,
    preset: str | None = None,
    more: str = "",
    ranks: int | None = None,
    kernels: str = OWN_KERNELS,
) -> list[TrainingJob]:
    """The trainings of a group, seed by seed. An argument that is given replaces the value of the group.

    Args:
        name: of the group.
        tasks: Gymnasium ids.
        seeds: of the trainings.
        steps: of each training.
        preset: of each training.
        more: further settings, "name=value name=value".
        ranks: of each training.
        kernels: of each training (`result_files.KERNELS`).
    """
    group = GROUPS[name]
    preset, ranks = preset or group.preset, ranks or group.ranks
    setting = " ".join(filter(None, (preset or "default", more))) + (f", {ranks} ranks" if ranks > 1 else "")
    setting = with_kernels(setting, kernels)

    def arguments(env: str) -> tuple[str, ...]:
        settings = {"preset": preset} if preset else (group.overrides or {}).get(env, {})
        return to_arguments(" ".join(f"{key}={value}" for key, value in settings.items())) + to_arguments(more)

    return [
        TrainingJob(
            BENCHMARK,
            setting,
            env,
            seed,
            steps or group.steps_of(env),
            arguments(env),
            EPISODES.get(env, 100),
            ranks,
            match_settings=True,
            kernels=kernels,
        )
        for seed in dict.fromkeys(seeds or group.seeds)
        for env in dict.fromkeys(tasks or group.tasks)
    ]


def report(name: str, plan: Sequence[TrainingJob], one_rank: Sequence[TrainingJob] = ()) -> str:
    """Write the table and the learning curves of the finished jobs of a group; returns the table.

    A partial plan has its own file names.

    Args:
        name: of the group.
        plan: jobs to report.
        one_rank: the same jobs with one rank, for comparison.
    """
    results, group = ResultFile(BENCHMARK), GROUPS[name]
    finished = [(job, line) for job in plan if (line := results.find(job))]
    if not finished:
        return "no training has finished yet"
    one_rank_lines = [line for job in one_rank if (line := results.find(job))]
    text = format_group(group, finished, one_rank_lines, sum(results.count_outdated(job) for job in plan))
    tasks = dict.fromkeys(job.env for job in plan)
    complete = {job.key for job in plan} >= {job.key for job in jobs(name)} and set(tasks) == set(group.tasks)
    path = report_path(BENCHMARK if name == "nine" else f"{BENCHMARK}-{name}", complete)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.name}-table.md").write_text(text)
    curve_figure(
        path.with_suffix(".png"),
        [line for _, line in finished],
        [plan[0].setting],
        [env for env in tasks if any(job.env == env for job, _ in finished)],
        group.reference_names[0],
        {env: group.tasks.get(env, (None,))[0] for env in tasks},
    )
    return text


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", choices=GROUPS, default="nine", help="group of tasks [nine]")
    parser.add_argument(
        "--env", nargs="+", metavar="ID", help="Gymnasium ids, of the group or others [all of the group]"
    )
    parser.add_argument("--seeds", type=int, nargs="+", help="seeds [0 to 4, 0 to 2 or 0, by group]")
    parser.add_argument("--preset", help="preset of all tasks [that of the group]")
    parser.add_argument(
        "--with", dest="more", default="", metavar="SETTINGS", help='settings of all tasks: "name=value name=value"'
    )
    parser.add_argument(
        "--num-timesteps", type=step_count, help="environment steps of each training, over all ranks [by group]"
    )
    add_jobs_argument(parser, "one per core; with several ranks one")
    add_kernels_argument(parser)
    parser.add_argument("--report", action="store_true", help="train nothing; write the table and figure")
    args = parser.parse_args()
    if reserved := set(args.seeds or ()) & set(TEST_SEEDS):
        parser.error(
            f"invalid --seeds {reserved.pop()}: tests/returns/test_long_returns.py trains this seed, so no result may use "
            "it; choose another"
        )
    selection = {
        "tasks": args.env,
        "seeds": args.seeds,
        "preset": args.preset,
        "more": args.more,
        "kernels": args.kernels,
    }
    try:
        check_kernels(args.kernels)
        args.plan = jobs(args.group, steps=args.num_timesteps, **selection)
        if not args.report:
            validate_settings(args.plan)
        args.one_rank = ()
        if args.plan[0].ranks > 1:  # compare with the unchanged preset
            args.one_rank = jobs(args.group, steps=1_000_000, **selection | {"more": ""}, ranks=1)
    except (UserError, ValueError) as error:
        parser.error(str(error))
    return args


def main() -> int:
    args = parse_arguments()
    failed = 0 if args.report else run_queue(args.plan, args.jobs if args.plan[0].ranks == 1 else 1)
    print(report(args.group, args.plan, args.one_rank))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
