"""Train everything for Table 1 (both treatments of time limits) and Figure 3 of the PPO paper in one queue: training_queue.py.

python -m benchmarks.paper.run_all [--jobs N] [--seeds 0 1 2]
"""

import argparse
import sys

from benchmarks.paper import algorithms, surrogates
from benchmarks.returns.command_line import add_jobs_argument
from benchmarks.returns.training_queue import run_queue


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add_jobs_argument(parser)
    args = parser.parse_args()
    first_tasks = algorithms.TASKS[:4]  # the tasks on which the algorithms of Figure 3 differ most
    first = (
        surrogates.jobs(seeds=args.seeds[:1])
        + algorithms.jobs(first_tasks, args.seeds)
        + surrogates.jobs(seeds=args.seeds, time_limits="death")
    )
    jobs = list(dict.fromkeys(first + surrogates.jobs(seeds=args.seeds) + algorithms.jobs(seeds=args.seeds)))
    failed = run_queue(jobs, args.jobs)
    print(surrogates.report(surrogates.TASKS, args.seeds, 1_000_000))
    print(surrogates.report(surrogates.TASKS, args.seeds, 1_000_000, "death"))
    print(algorithms.report(algorithms.TASKS, args.seeds, 1_000_000))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
