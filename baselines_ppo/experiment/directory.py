"""A run's folder when a job starts: claimed by rank 0 for all, and taken back to the checkpoint that the run goes on from."""

import os
import sys

from baselines_ppo.train.resume import check_compatible
from common.errors import UserError
from common.hints import OTHER_RUN_DIR, RUN_DIR_TAKEN
from common.policies.files import read_best
from common.runs.log_files import RunLogFiles
from common.runs.run_directory import RunDirectory, read_config
from common.storage.paths import user_path
from common.training.state import validate_checkpoint


def runs_folder():
    """The folder of runs that were not told where: what `BASELINES_PPO_RUNS` names, or runs/ here."""
    return user_path(os.environ.get("BASELINES_PPO_RUNS") or "runs", "BASELINES_PPO_RUNS")


def acquire_run_directory(path, comm, resuming, keep):
    """The run's folder, claimed by rank 0 for the whole job; it keeps `keep` checkpoints."""
    folder = None

    def claim():
        nonlocal folder
        folder = RunDirectory(path, keep)
        if warning := folder.acquire():
            print(f"baselines_ppo: {warning}", file=sys.stderr, flush=True)
        if not resuming and read_config(path) is not None:
            raise UserError(f"run directory {path} {RUN_DIR_TAKEN}")
        if not resuming and (names := folder.stale_files()):
            raise UserError(
                f"run directory {path} holds {names[0]} of a run whose config.json is gone; {OTHER_RUN_DIR}"
            )
        read_best(path)  # refuses it, too, while nothing has been touched

    comm.run_on_root(claim)
    if folder is None:
        folder = RunDirectory(path)
        folder.check_writable()
    return folder


def rewind_to_checkpoint(folder, comm, exact, pi):
    """Take a run's folder back to the checkpoint that it goes on from, on all ranks; returns the checkpoint, or None if there is none yet.

    Args:
        exact: pass over forced checkpoints.
        pi: an example of the run's policy, which the checkpoint must fit.
    """
    checkpoint = choose(folder, comm, exact)
    if checkpoint is not None:
        check_compatible(checkpoint, pi, comm.size)
    sizes, logs = checkpoint[1]["logs"][comm.rank] if checkpoint else {}, RunLogFiles(folder.path, comm.rank)
    missing = sum(comm.gather(logs.check(sizes)), [])  # and all have read
    if comm.rank == 0:
        if missing:
            print(f"run.py: {', '.join(missing)}: the run goes on without these rows", file=sys.stderr, flush=True)
        folder.discard_after(checkpoint[2] if checkpoint else None)
    comm.barrier()  # only then: were this to end between the two, a newer checkpoint would find logs that are shorter than it knows
    logs.cut(sizes)
    return checkpoint


def choose(folder, comm, exact):
    """The checkpoint (`RunDirectory.latest_checkpoint`) that rank 0 chooses and reads, on all ranks: to another host a shared folder may still look as it
    did some seconds ago."""

    def latest():
        checkpoint = folder.checkpoints.latest(validate_checkpoint, exact)
        if checkpoint is None and folder.checkpoints.paths():
            raise UserError(
                f"--resume exact: {folder.path} has a forced checkpoint and no scheduled one yet; go on from it by --resume alone"
            )
        return checkpoint

    return comm.run_on_root(latest)
