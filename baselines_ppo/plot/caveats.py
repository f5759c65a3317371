"""Caveats of a comparison: unfinished runs, groups trained for different lengths, and copies of one run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from baselines_ppo.config.registry import NON_IDENTITY_SETTINGS
from baselines_ppo.experiment.progress import completed_fraction, last_value, progress_text
from common.runs.results import RunResults

COMPLETE_FRACTION = 0.9  # a run or a group with this fraction of a length counts as complete
MAX_NAMED = 3  # runs that a caveat names

Groups = Mapping[str, Sequence[RunResults]]  # {group: [runs]} of one environment


def caveats(groups: Groups) -> list[str]:
    """Return one line for each reason to distrust a comparison of the groups of one environment."""
    return [*unfinished_runs(groups), *unequal_lengths(groups), *duplicate_runs(groups)]


def unfinished_runs(groups: Groups) -> Iterator[str]:
    """Yield a line for each group with runs that have not reached their limit."""
    for name, runs in groups.items():
        short = [run for run in runs if (found := completed_fraction(run)) and found[0] < COMPLETE_FRACTION]
        if short:
            which = [f"{run.path} ({progress_text(run)[0]})" for run in short]
            yield f"{name}: {len(short)} of {len(runs)} runs are unfinished: {shortened(which)}"


def unequal_lengths(groups: Groups) -> Iterator[str]:
    """Yield a line if the shortest run of one group has far fewer steps than that of another."""
    ends: dict[str, float] = {}
    for name, runs in groups.items():
        steps = [last_value(run, "steps") for run in runs]
        known = [x for x in steps if x is not None]
        if len(known) < len(steps):
            return
        ends[name] = min(known)
    if min(ends.values()) < COMPLETE_FRACTION * max(ends.values()):
        lengths = ", ".join(f"{steps:,.0f} steps ({name})" for name, steps in ends.items())
        yield (
            f"the groups were trained for unequal lengths: {lengths}; a difference between them may be one of length"
        )


def duplicate_runs(groups: Groups) -> Iterator[str]:
    """Yield a line for each set of runs in a group with equal seeds, settings and ranks.

    Whether their code was equal is unknown if it had uncommitted changes or their commits differ. Runs are left out if
    their environment had arguments that no file stores.
    """
    for name, runs in groups.items():
        alike: dict[str, list[RunResults]] = {}
        for run in runs:
            if run.settings.get("seed") is not None and not run.settings.get("env_kwargs_lost"):
                identity = {key: x for key, x in run.settings.items() if key not in NON_IDENTITY_SETTINGS}
                alike.setdefault(json.dumps(identity, sort_keys=True), []).append(run)
        for same in alike.values():
            if len(same) > 1:
                commits = {run.config.get("git_commit") for run in same}
                same_code = len(commits) == 1 and not str(*commits).endswith("+")
                one = "they are one run" if same_code else "unless their code differed, they are one run"
                yield (
                    f"{name}: {len(same)} runs have the same seed, {same[0].settings['seed']}, and the same settings: "
                    f"{shortened([str(run.path) for run in same])}; {one} counted several times, which makes intervals "
                    "too narrow and p too small: leave out all but one"
                )


def shortened(names: Sequence[str]) -> str:
    """Return the first `MAX_NAMED` names as text, and ", ..." if there are more."""
    return ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")
