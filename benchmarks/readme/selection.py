"""Chooses the lines of a result file that a page shows: those with the current settings, or the last complete earlier ones."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from baselines_ppo.config.run_settings import RunSettings
from baselines_ppo.config.settings import ALGORITHMS
from benchmarks.returns.result_files import (
    IRRELEVANT_SETTINGS,
    Line,
    ResultFile,
    TrainingJob,
    key_of,
    policy_defaults,
    satisfies,
)
from common.errors import UserError


@dataclass(frozen=True)
class Selection:
    """The finished trainings of one task.

    Attributes:
        lines: one for each seed, in the order of the seeds.
        job: the first of the jobs.
        current: whether the lines have the settings that the job's command has now.
    """

    lines: list[Line]
    job: TrainingJob
    current: bool


def select(results: ResultFile, jobs: Sequence[TrainingJob], any_number: bool = False) -> Selection:
    """The lines of the jobs of one task.

    While the seeds are trained again with changed settings, the last complete set with equal earlier settings is used.

    Args:
        results: finished trainings.
        jobs: one for each seed, which differ in nothing else.
        any_number: use all recorded seeds with equal settings, also other seeds than those of the jobs.

    Raises:
        UserError: if no settings have a line for each seed.
    """
    first = jobs[0]
    lines = [line for line in results.lines if key_of(line)[:3] == first.key[:3] and line["steps"] == first.steps]
    lines = [line for line in lines if len(line.get("deterministic", ())) >= first.episodes]
    current = {line["seed"]: line for line in lines if satisfies(line, first)}
    if covers(current, jobs, any_number):
        return Selection(_in_order(current, jobs, any_number), first, True)
    for found in reversed(_by_settings(lines)):
        if covers(found, jobs, any_number):
            return Selection(_in_order(found, jobs, any_number), first, False)
    raise UserError(
        f"{results.path} has no complete set of the seeds of {first.env}, {first.setting}; train them with "
        "python -m benchmarks.returns.final_policies"
    )


def covers(found: dict[int, Line], jobs: Iterable[TrainingJob], any_number: bool) -> bool:
    """Whether lines by seed are complete."""
    return bool(found) if any_number else all(job.seed in found for job in jobs)


def _in_order(found: dict[int, Line], jobs: Iterable[TrainingJob], any_number: bool) -> list[Line]:
    return [found[seed] for seed in (sorted(found) if any_number else (job.seed for job in jobs))]


def _by_settings(lines: Iterable[Line]) -> list[dict[int, Line]]:
    """[{seed: line}] for each distinct settings, those with the latest line last."""
    groups: dict[str, dict[int, Line]] = {}
    for line in lines:
        key = json.dumps(complete_settings(line), sort_keys=True)
        groups[key] = groups.pop(key, {}) | {line["seed"]: line}
    return list(groups.values())


def complete_settings(line: Line) -> dict[str, object]:
    """The settings of a line that affect its result, with the defaults of those that did not exist when it was written."""
    recorded = line["settings"]
    defaults = {one.name: one.default for cls in (RunSettings, ALGORITHMS[recorded["alg"]]) for one in fields(cls)}
    policy = policy_defaults(recorded["policy"]) | recorded["policy_settings"]
    settings = defaults | recorded | {"policy_settings": policy}
    return {name: value for name, value in settings.items() if name not in IRRELEVANT_SETTINGS}
