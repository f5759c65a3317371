"""Reads the environment variables that MPI launchers set for the processes they start. Needs no MPI library."""

import os
from collections.abc import Mapping
from pathlib import Path

# variable with the number of ranks -> the launcher that sets it
LAUNCHERS = {
    "PMI_SIZE": "MPICH or Intel MPI",
    "OMPI_COMM_WORLD_SIZE": "Open MPI",
    "MV2_COMM_WORLD_SIZE": "MVAPICH",
    "SLURM_STEP_NUM_TASKS": "srun",
}
RANK_VARIABLES = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID")
LAUNCHER_PREFIXES = ("PMI", "PMIX", "MPI", "HYD", "OMPI", "MV2", "SLURM_STEP")


def launcher_world_size(environ: Mapping[str, str] = os.environ) -> tuple[int, str | None]:
    """Return how many ranks the launcher has started, and its name; (1, None) without a launcher."""
    for variable, launcher in LAUNCHERS.items():
        if environ.get(variable, "").isdigit():
            return int(environ[variable]), launcher
    return 1, None


def launcher_rank(environ: Mapping[str, str] = os.environ) -> int | None:
    """Return this process's rank as set by a launcher of several ranks; None without one."""
    if launcher_world_size(environ)[0] == 1:
        return None
    return next((int(environ[variable]) for variable in RANK_VARIABLES if environ.get(variable, "").isdigit()), None)


def subprocess_env() -> dict[str, str]:
    """Return environment variables for a child process: same imports as here, and not a rank of the MPI job."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHER_PREFIXES)}
    search_path = (str(Path(__file__).parents[2]), environ.get("PYTHONPATH"))
    return environ | {"PYTHONPATH": os.pathsep.join(filter(None, search_path))}
