"""All long benchmarks in one queue: Table 1's trainings, with time limits taken either way, and Figure 3's. See training_queue.py.

python -m benchmarks.paper.run_all [--jobs N] [--seeds 0 1 2]
"""

import argparse
import sys

from benchmarks.paper import algorithms, surrogates
from benchmarks.returns.training_queue import add_jobs, run_queue


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add_jobs(parser)
    args = parser.parse_args()
    telling = algorithms.TASKS[:4]  # tell Figure 3's algorithms apart; its others come last
    first = (
        surrogates.jobs(seeds=args.seeds[:1])
        + algorithms.jobs(telling, args.seeds)
        + surrogates.jobs(seeds=args.seeds, time_limits="death")
    )
    jobs = list(dict.fromkeys(first + surrogates.jobs(seeds=args.seeds) + algorithms.jobs(seeds=args.seeds)))
    failed = run_queue(jobs, args.jobs)
    what = args.seeds, 1_000_000
    for table in (
        surrogates.report(surrogates.TASKS, *what),
        surrogates.report(surrogates.TASKS, *what, "death"),
        algorithms.report(algorithms.TASKS, *what),
    ):
        print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
