"""Command line and report paths that the long benchmarks share."""

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks import paths
from benchmarks.returns.result_files import KERNELS, OWN_KERNELS, TrainingJob
from benchmarks.returns.training_queue import run_queue
from benchmarks.robustness.processor_variants import cpu_flags
from common.errors import UserError

SEEDS = (0, 1, 2)  # default seeds of a comparison
STEPS = 1_000_000  # environment steps of a training in a complete report


def comparison_path(
    name: str, tasks: Iterable[str], all_tasks: Iterable[str], steps: int, seeds: Iterable[int] = SEEDS
) -> Path:
    """Path of the report of a comparison, without suffix."""
    complete = set(tasks) == set(all_tasks) and steps == STEPS and set(SEEDS) <= set(seeds)
    return report_path(name, complete)


def report_path(name: str, complete: bool) -> Path:
    """Path of a report, without suffix. A partial report (fewer tasks, steps or seeds) never replaces the complete one."""
    return paths.RESULTS / (name if complete else f"{name}-part")


def to_arguments(text: str) -> tuple[str, ...]:
    """Convert 'preset=trpo cg_stride=1' to command line arguments.

    Raises:
        ValueError: for a part without "=".
    """
    pairs = [part.partition("=") for part in text.split()]
    if bad := [name for name, equals, _ in pairs if not equals]:
        raise ValueError(f"invalid setting {bad[0]!r} in {text!r}: must be name=value")
    return tuple(argument for name, _, value in pairs for argument in (f"--{name.replace('_', '-')}", value))


def positive_int(text: str) -> int:
    """Parse an integer of at least 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"invalid number {text!r}: must be at least 1")
    return int(text)


def step_count(text: str) -> int:
    """Parse a number of steps, such as 1000000 or 1e6."""
    return int(float(text))


def add_jobs_argument(parser: argparse.ArgumentParser, default: str = "one per core") -> None:
    """Add --jobs, the number of trainings that run at once."""
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--jobs", type=positive_int, default=cores, help=f"trainings at once [{default}]")


def add_steps_argument(parser: argparse.ArgumentParser) -> None:
    """Add --num-timesteps with the default of a complete report."""
    parser.add_argument(
        "--num-timesteps", type=step_count, default=STEPS, help="environment steps of each training [1e6]"
    )


def add_kernels_argument(parser: argparse.ArgumentParser) -> None:
    """Add --kernels, which changes the last digits of all results."""
    parser.add_argument(
        "--kernels",
        choices=KERNELS,
        default=OWN_KERNELS,
        help="kernels of the numeric libraries: this processor's own, or others, which round differently [own]",
    )


def check_kernels(name: str) -> None:
    """Raise UserError if this processor cannot run kernels."""
    missing = sorted(KERNELS[name].flags - cpu_flags())
    if missing:
        raise UserError(f"invalid --kernels {name}: this processor lacks {', '.join(missing)}")


def run_comparison(
    doc: str,
    tasks: Sequence[str],
    jobs: Callable[..., list[TrainingJob]],
    report: Callable[..., str],
    **variants: Sequence[str],
) -> int:
    """Run the command line of one comparison; returns the exit status.

    Args:
        doc: its description.
        tasks: its default tasks.
        jobs: function (tasks, seeds, steps, **variant) that lists the trainings.
        report: function (tasks, seeds, steps, **variant) that writes and returns the table.
        variants: {name of an argument of both functions: its choices, the default first}.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", nargs="+", default=list(tasks), metavar="ID", help=f"tasks [{' '.join(tasks)}]")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="seeds [0 1 2]")
    add_steps_argument(parser)
    add_jobs_argument(parser)
    parser.add_argument("--report", action="store_true", help="train nothing; write the table and figure")
    for name, choices in variants.items():
        parser.add_argument(f"--{name.replace('_', '-')}", choices=choices, default=choices[0], help=f"[{choices[0]}]")
    args = parser.parse_args()
    selection = [*dict.fromkeys(args.env)], [*dict.fromkeys(args.seeds)], args.num_timesteps
    variant = {name: getattr(args, name) for name in variants}
    failed = 0 if args.report else run_queue(jobs(*selection, **variant), args.jobs)
    print(report(*selection, **variant))
    return 1 if failed else 0
