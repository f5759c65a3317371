"""Make the references of the return tests, in tests/reference.

    python -m benchmarks.returns.references                   all small tasks, a hundred seeds each: 15 minutes on two cores
    python -m benchmarks.returns.references --tasks ring      one task
    python -m benchmarks.returns.references --trial 2         two seeds of each task; prints the scores and writes nothing
    python -m benchmarks.returns.references --million         the tasks of 1M steps, from the results of final_policies.py

The command can be killed at any moment and restarted. A finished seed is used as long as the code that it depends on, committed or
not, is unchanged.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in the tests and run.py; NumPy reads it when it is imported
import numpy as np  # noqa: E402

from benchmarks.paths import ROOT  # noqa: E402
from benchmarks.returns import final_policies  # noqa: E402
from benchmarks.returns.command_line import add_jobs_argument  # noqa: E402
from benchmarks.returns.result_files import Line, ResultFile, TrainingJob  # noqa: E402
from benchmarks.returns.training_queue import tree_commit  # noqa: E402
from common.errors import UserError  # noqa: E402

# shared with the return tests, whose modules import each other by name
sys.path[:0] = [str(ROOT / "tests" / "support" / folder) for folder in ("", "environments", "numerics")]
import reference_bounds  # noqa: E402

SEEDS = range(100, 200)
CODE = (
    "baselines_ppo/**/*.py",
    "common/**/*.py",
    "tests/support/environments/return_tasks.py",
    "tests/support/environments/small_envs.py",
)


def init_worker() -> None:
    """Import TensorFlow in a worker process, configured as in the tests."""
    import logging

    import gymnasium as gym

    from common.runtime.tf_import import import_tensorflow

    import_tensorflow(threads=1)
    gym.logger.min_level = gym.logger.ERROR  # no warning about -v4 environments
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # no retracing warnings: one process builds many policies


def train(name: str, seed: int) -> float:
    """Score of one training."""
    import return_tasks

    return return_tasks.score(name, seed)


def code_hash(versions: dict[str, str]) -> str:
    """Hash of everything that a score depends on: the current source files and the versions of the libraries."""
    files = sorted(path for pattern in CODE for path in ROOT.glob(pattern))
    data = b"".join(path.read_bytes() for path in files) + json.dumps(versions).encode()
    return hashlib.sha256(data).hexdigest()[:16]


def make_small_references(
    names: Iterable[str],
    seeds: Iterable[int],
    workers: int,
    provenance: dict[str, Any],
    partial: ResultFile,
    write: bool = True,
) -> None:
    """Train small tasks, print their scores and write their references.

    Args:
        names: of the tasks.
        seeds: of the trainings.
        workers: trainings at once.
        provenance: {"git_commit": ..., "versions": ...}.
        partial: finished seeds, by task, seed and `code_hash`.
        write: whether to write the references.
    """
    from return_tasks import settings_of

    current = code_hash(provenance["versions"])
    done = {(line["task"], line["seed"]): line["score"] for line in partial.lines if line["code"] == current}
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), init_worker) as pool:
        for name in names:
            futures = {pool.submit(train, name, seed): seed for seed in seeds if (name, seed) not in done}
            for future in as_completed(futures):
                if not future.exception():
                    done[name, futures[future]] = future.result()
                    partial.add({"task": name, "seed": futures[future], "score": future.result(), "code": current})
            for future in futures:  # raise the first error only after all other seeds are stored
                future.result()
            scores = {seed: done[name, seed] for seed in seeds}
            reference = reference_bounds.reference(
                name,
                scores,
                settings=settings_of(name),
                **provenance,
                command="python -m benchmarks.returns.references",
            )
            if write:
                reference_bounds.write(reference)
            print(
                f"{name}: {reference['mean']:.5g} ± {reference['deviation']:.3g} over {len(scores)} seeds, "
                f"from {min(scores.values()):.5g} to {max(scores.values()):.5g}",
                flush=True,
            )


def write_million_references(results: ResultFile, directory: Path = reference_bounds.MILLION) -> None:
    """Write the references of the tasks of 1M steps: deterministic returns of all seeds with the current settings.

    Raises:
        UserError: for seeds of one task that were trained with different library versions or with uncommitted changes.
    """
    for env in final_policies.NINE:
        lines = {
            job.seed: (job, line) for job in final_policies.jobs("references", [env]) if (line := results.find(job))
        }
        if not lines:
            print(f"{env}: no seed has finished with the current settings")
            continue
        _check_provenance(env, lines, results.path)
        job, last = lines[max(lines)]
        scores = {seed: float(np.mean(line["deterministic"])) for seed, (_, line) in lines.items()}
        reference = reference_bounds.reference(
            env,
            scores,
            preset=last["settings"]["preset"],
            words=list(job.arguments),
            settings=job.settings,
            steps=job.steps,
            git_commit=", ".join(sorted({line["git_commit"] for _, line in lines.values()})),
            versions=last["versions"],
            command=f"python -m benchmarks.returns.final_policies --group references --env {env}",
        )
        reference_bounds.write(reference, directory)
        print(f"{env}: {reference['mean']:,.1f} ± {reference['deviation']:,.1f} over {len(scores)} seeds")


def _check_provenance(env: str, lines: dict[int, tuple[TrainingJob, Line]], path: Path) -> None:
    fix = f"remove the line from {path} and train the seed again"
    last_seed = max(lines)
    for seed, (_, line) in lines.items():
        if line["git_commit"].endswith("+"):
            raise UserError(
                f"{env}, seed {seed} was trained with uncommitted changes, but a reference must name its commit; {fix}"
            )
        if line["versions"] != lines[last_seed][1]["versions"]:
            raise UserError(f"{env}, seeds {seed} and {last_seed} were trained with different library versions; {fix}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", help="small tasks [all]")
    parser.add_argument("--trial", type=int, metavar="SEEDS", help="number of seeds; writes no reference")
    parser.add_argument("--million", action="store_true", help="only write the references of 1M steps; train nothing")
    add_jobs_argument(parser)
    args = parser.parse_args()
    if args.million:
        try:
            write_million_references(ResultFile(final_policies.BENCHMARK))
        except UserError as error:
            parser.error(str(error))
        return 0
    init_worker()
    from return_tasks import TASKS

    from baselines_ppo.experiment.metadata import package_versions

    if unknown := set(args.tasks or ()) - TASKS.keys():
        parser.error(f"unknown task {unknown.pop()!r}; choose from {', '.join(TASKS)}")
    if args.trial is not None and not 1 <= args.trial <= len(SEEDS):
        parser.error(f"invalid --trial {args.trial}: must be from 1 to {len(SEEDS)}")
    commit = tree_commit()
    if commit.endswith("+") and args.trial is None:
        parser.error(
            "the clone has uncommitted changes (git status), but a reference must name its commit; commit them first, or "
            "use --trial 2, which writes no reference"
        )
    make_small_references(
        args.tasks or TASKS,
        SEEDS[: args.trial],
        args.jobs,
        {"git_commit": commit, "versions": package_versions()},
        ResultFile("references", ROOT / "runs"),
        write=args.trial is None,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
