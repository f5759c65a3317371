"""What makes a comparison of runs say more than it knows: runs of unequal length, and copies of one run that count as seeds."""

import json

from baselines_ppo.config.registry import NON_IDENTITY_SETTINGS
from baselines_ppo.experiment.progress import completed_fraction, last_value, progress_text

COMPLETE_FRACTION = 0.9  # of a length is as good as the whole
SHOWN = 3  # runs that are named


def caveats(groups):
    """Lines on the groups of one environment, {group: [runs]}: what to know before one believes their test."""
    return [*unfinished_runs(groups), *unequal_lengths(groups), *duplicate_runs(groups)]


def unfinished_runs(groups):
    """A line for each group with runs that have not come to their own end."""
    for name, runs in groups.items():
        short = [run for run in runs if (found := completed_fraction(run)) and found[0] < COMPLETE_FRACTION]
        if short:
            which = ", ".join(f"{run.path} ({progress_text(run)[0]})" for run in short[:SHOWN]) + (
                ", ..." if len(short) > SHOWN else ""
            )
            yield f"{name}: {len(short)} of {len(runs)} runs did not come to their end: {which}"


def unequal_lengths(groups):
    """A line, if the shortest run of one group has many fewer steps than that of another."""
    ends = {name: [last_value(run, "steps") for run in runs] for name, runs in groups.items()}
    if any(None in steps for steps in ends.values()):
        return
    ends = {name: min(steps) for name, steps in ends.items()}
    if min(ends.values()) < COMPLETE_FRACTION * max(ends.values()):
        yield (
            f"the groups were trained for unequal lengths: {', '.join(f'{steps:,.0f} steps ({name})' for name, steps in ends.items())}; "
            "a difference may be one of length"
        )


def duplicate_runs(groups):
    """A line for each set of runs in a group that differ neither in their seed nor in another setting that makes a run, nor in their ranks. What the code
    was is not known where it had been changed, or they have different commits; nor what an environment was made with that no file holds."""
    for name, runs in groups.items():
        alike = {}
        for run in runs:
            if run.settings.get("seed") is not None and not run.settings.get("env_kwargs_lost"):
                key = json.dumps(
                    {key: x for key, x in run.settings.items() if key not in NON_IDENTITY_SETTINGS}, sort_keys=True
                )
                alike.setdefault(key, []).append(run)
        for same in alike.values():
            if len(same) > 1:
                which = ", ".join(str(run.path) for run in same[:SHOWN]) + (", ..." if len(same) > SHOWN else "")
                commits = {run.config.get("git_commit") for run in same}
                one = (
                    "they are one run"
                    if len(commits) == 1 and not str(*commits).endswith("+")
                    else "unless their code differed, they are one run"
                )
                yield (
                    f"{name}: {len(same)} runs have the same seed, {same[0].settings['seed']}, and the same settings: {which}; {one} that "
                    "counts as several, which makes intervals too narrow and p too small: leave all but one out"
                )
