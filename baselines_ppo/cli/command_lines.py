"""Commands to type next, as a run and its report tell them: whole, and quoted for a shell."""

import shlex

TOOL = "python -m baselines_ppo"


def resume_command(path, ranks):
    """What goes on with the run in a folder, on as many ranks as it has."""
    return f"{f'mpirun -n {ranks} ' if ranks > 1 else ''}{TOOL} --run-dir {shlex.quote(str(path))} --resume"


def play_command(path):
    """What plays the policy of a run, a checkpoint or a policy's folder."""
    return f"{TOOL} --play --load-path {shlex.quote(str(path))} --deterministic"


def report_command(path):
    """What draws the report of the run in a folder."""
    return f"{TOOL}.report {shlex.quote(str(path))}"
