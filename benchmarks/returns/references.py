"""The references of the return tests, into tests/reference.

    python -m benchmarks.returns.references                   every small task on a hundred seeds: a quarter of an hour on two cores
    python -m benchmarks.returns.references --tasks ring      one
    python -m benchmarks.returns.references --trial 2         two seeds of each, shown and not written
    python -m benchmarks.returns.references --million         of the tasks of a million steps, from what final_policies.py has finished of them

May be killed at any moment and started again: what has finished counts for as long as the code that it depends on, committed or not, is the same.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the tests and run.py have it
import numpy as np  # noqa: E402

from benchmarks.returns import final_policies  # noqa: E402
from benchmarks.returns.result_files import Results  # noqa: E402
from benchmarks.returns.training_queue import ROOT, add_jobs, tree_commit  # noqa: E402
from common.errors import UserError  # noqa: E402

sys.path.insert(0, str(ROOT / "tests" / "support"))
import reference_bounds  # noqa: E402

SEEDS = range(100, 200)
CODE = ("baselines_ppo/**/*.py", "common/**/*.py", "tests/support/return_tasks.py", "tests/support/small_envs.py")


def start():
    """In a worker: TensorFlow as the tests have it."""
    import logging

    import gymnasium as gym

    from common.runtime.tf_import import import_tensorflow

    import_tensorflow(threads=1)
    gym.logger.min_level = gym.logger.ERROR  # -v4 is meant
    logging.getLogger("tensorflow").setLevel(
        logging.ERROR
    )  # one process builds many policies, and a warning for each would say so


def train(name, seed):
    """One training's score."""
    import return_tasks

    return return_tasks.score(name, seed)


def code(versions):
    """A hash of all that a score depends on: source files as they are, and the libraries' versions."""
    files = sorted(path for pattern in CODE for path in ROOT.glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files) + json.dumps(versions).encode()).hexdigest()[
        :16
    ]


def small(names, seeds, jobs, made_by, partial, write=True):
    """Train tasks on seeds; show them, and write their references.

    Args:
        made_by: {"git_commit": ..., "versions": ...}.
        partial: `Results` of single seeds, by task, seed and `code`.
    """
    from return_tasks import settings_of

    now = code(made_by["versions"])
    done = {(line["task"], line["seed"]): line["score"] for line in partial.lines if line["code"] == now}
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), start) as pool:
        for name in names:
            futures = {pool.submit(train, name, seed): seed for seed in seeds if (name, seed) not in done}
            for future in as_completed(futures):
                if not future.exception():
                    done[name, futures[future]] = future.result()
                    partial.add({"task": name, "seed": futures[future], "score": future.result(), "code": now})
            for future in futures:  # only now, when the others are kept
                future.result()
            scores = {seed: done[name, seed] for seed in seeds}
            found = reference_bounds.reference(
                name, scores, settings=settings_of(name), **made_by, command="python -m benchmarks.returns.references"
            )
            if write:
                reference_bounds.write(found)
            print(
                f"{name}: {found['mean']:.5g} ± {found['deviation']:.3g} over {len(scores)} seeds, from {min(scores.values()):.5g} "
                f"to {max(scores.values()):.5g}",
                flush=True,
            )


def million(results, folder=reference_bounds.MILLION):
    """Write the references of the tasks of a million steps: what the deterministic policies of their seeds earn, with the settings that stand now.

    Raises:
        UserError: for seeds of one task that were trained by several versions of a library, or by files that no commit has.
    """
    for env in final_policies.NINE:
        lines = {
            job.seed: (job, line) for job in final_policies.jobs("references", [env]) if (line := results.finished(job))
        }
        if not lines:
            print(f"{env}: no seed has finished with the settings that stand now")
            continue
        if mixed := [seed for seed, (_, line) in lines.items() if line["git_commit"].endswith("+")]:
            raise UserError(
                f"{env}, seed {mixed[0]} was trained by files with changes, and a reference names the commit that it is of; take its line out of "
                f"{results.path} and train it anew"
            )
        job, newest = lines[max(lines)]
        if other := [seed for seed, (_, line) in lines.items() if line["versions"] != newest["versions"]]:
            raise UserError(
                f"{env}, seeds {other[0]} and {max(lines)} were trained by other versions of the libraries; take the older lines out of "
                f"{results.path} and train them anew"
            )
        scores = {seed: float(np.mean(line["deterministic"])) for seed, (_, line) in lines.items()}
        found = reference_bounds.reference(
            env,
            scores,
            preset=newest["settings"]["preset"],
            words=list(job.words),
            settings=job.settings,
            steps=job.steps,
            git_commit=", ".join(sorted({line["git_commit"] for _, line in lines.values()})),
            versions=newest["versions"],
            command=f"python -m benchmarks.returns.final_policies --group references --env {env}",
        )
        reference_bounds.write(found, folder)
        print(f"{env}: {found['mean']:,.1f} ± {found['deviation']:,.1f} over {len(scores)} seeds")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", help="some of the small ones [all]")
    parser.add_argument("--trial", type=int, metavar="SEEDS", help="so many seeds only, shown and not written")
    parser.add_argument(
        "--million",
        action="store_true",
        help="only write the references of the tasks of a million steps; trains nothing",
    )
    add_jobs(parser)
    args = parser.parse_args()
    if args.million:
        try:
            million(Results(final_policies.BENCHMARK))
        except UserError as error:
            parser.error(str(error))
        return 0
    start()
    from return_tasks import TASKS

    from baselines_ppo.experiment.outputs import versions

    if unknown := set(args.tasks or ()) - TASKS.keys():
        parser.error(f"no task {unknown.pop()!r}; choose from {', '.join(TASKS)}")
    if args.trial is not None and not 1 <= args.trial <= len(SEEDS):
        parser.error(f"--trial {args.trial}; give 1 to {len(SEEDS)} seeds")
    commit = tree_commit()
    if commit.endswith("+") and args.trial is None:
        parser.error(
            "git status shows files with changes; commit them first, for a reference names the commit that it is of. --trial 2 writes none"
        )
    partial = Results("references", Path(ROOT) / "runs")
    small(
        args.tasks or TASKS,
        SEEDS[: args.trial],
        args.jobs,
        {"git_commit": commit, "versions": versions()},
        partial,
        write=args.trial is None,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
