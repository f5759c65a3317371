"""Groups runs: the runs of one group are the seeds of one curve."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from baselines_ppo.config.registry import NOT_GROUPABLE, STRUCTURAL
from common.errors import UserError
from common.runs.results import RunResults, find_runs

Environments = Mapping[str, Sequence[RunResults]]  # {environment: [runs]}


def load(paths: Iterable[Path]) -> tuple[dict[str, list[RunResults]], list[str]]:
    """Load the runs at the paths. A run to which several paths lead is loaded once.

    Returns:
        ({environment: [runs]}, notes on runs that were left out, and on assumptions).

    Raises:
        UserError: if there is no run with a finished episode, or a file cannot be read.
    """
    runs = list({run.path.resolve(): run for path in paths for run in find_runs(path)}.values())
    notes = [f"{run.path} has no finished episode yet: left out" for run in runs if run.curve is None]
    runs = [run for run in runs if run.curve is not None]
    if not runs:
        raise UserError(f"{', '.join(map(str, paths))}: no finished episode yet; try again later")
    known = sorted({run.env for run in runs if run.env})
    environments: dict[str, list[RunResults]] = {}
    for run in runs:
        env = run.env or (known[0] if len(known) == 1 else "unknown environment")
        if run.env is None and len(known) == 1:
            notes.append(f"{run.path} does not name its environment: assumed to be {env}, as in the other runs")
        environments.setdefault(env, []).append(run)
    return dict(sorted(environments.items())), notes


def group_runs(environments: Environments, key: str | None = None) -> dict[str, dict[str, list[RunResults]]]:
    """Group the runs of each environment by their settings.

    Args:
        environments: {environment: [runs]}.
        key: the setting that defines the groups; None uses the settings that differ between the runs of an environment.
            A run without config.json is grouped by the name of its directory, without a seed at its end.

    Returns:
        {environment: {group: [runs]}}.

    Raises:
        UserError: if no run has the setting.
    """
    names = sorted({name for runs in environments.values() for run in runs for name in run.settings})
    if key is not None and key not in names:
        near = difflib.get_close_matches(key, names, n=3)
        hint = f"use one of: {', '.join(names)}" if names else "none of the runs has a config.json"
        if near:
            hint = f"did you mean {' or '.join(near)}?"
        raise UserError(f"--group {key}: no run has this setting; {hint}")
    keys = [key] if key is not None else varying_settings(environments)
    found = {}
    for env, runs in environments.items():
        groups: dict[str, list[RunResults]] = {}
        for run in runs:
            groups.setdefault(group_name(run, keys), []).append(run)
        found[env] = dict(sorted(groups.items()))
    return found


def varying_settings(environments: Environments) -> list[str]:
    """Return the settings that differ between runs of an environment, without those that follow from other settings."""
    found: list[str] = []
    for runs in environments.values():
        configured = [run for run in runs if run.settings]
        for name in dict.fromkeys(name for run in configured for name in run.settings):
            values = {json.dumps(run.settings[name], sort_keys=True) for run in configured if name in run.settings}
            if len(values) > 1 and name not in NOT_GROUPABLE and name not in found:
                found.append(name)
    explicit = {name for runs in environments.values() for run in runs for name in run.config.get("typed") or {}}
    kept = [name for name in found if name in STRUCTURAL or name in explicit] or found
    return [name for name in kept if name != "alg" or "preset" not in kept]  # a preset belongs to one algorithm


def group_name(run: RunResults, keys: Sequence[str]) -> str:
    """Return the name of the group that a run belongs to, by its settings `keys`."""
    if not run.settings:
        name = run.directory.resolve().name
        return re.sub(r"[-_.]?seed[-_=]?\d+$", "", name) or run.directory.resolve().parent.name
    if not keys:
        return str(run.settings.get("preset"))
    return ", ".join(
        f"{run.settings.get(key)}" if key in ("preset", "alg") else f"{key}={run.settings.get(key)}" for key in keys
    )
