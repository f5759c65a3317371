"""Plans the runs of a sweep: the product of its values, each run's name and settings. Starts and writes nothing."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from baselines_ppo.cli.command_lines import format_value
from baselines_ppo.config.combinations import check_flag_combinations
from baselines_ppo.config.registry import MACHINE_SETTINGS, STOP_SETTINGS
from baselines_ppo.config.resolved_config import ResolvedConfig
from baselines_ppo.experiment.setup import resolve_config
from common.errors import UserError

PROG = "baselines_ppo.sweep"
MAX_RUNS = 10_000
MAX_NAME = 150  # characters; file systems allow 255 bytes

Settings = dict[str, Any]  # {setting: value} of one run, as given on the command line


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    Attributes:
        name: name of its directory.
        explicit: {setting: value} that the sweep's command line gives for it.
        config: its resolved settings.
    """

    name: str
    explicit: Settings
    config: ResolvedConfig

    @property
    def limits(self) -> dict[str, float]:
        """{stop setting: value} of its length."""
        return {name: getattr(self.config.run, name) for name in STOP_SETTINGS if getattr(self.config.run, name)}

    @property
    def explicit_with_cores(self) -> Settings:
        """Its explicit settings, and its share of the cores if it has several environments.

        Without them such a run would use all cores, which it shares with other runs.
        """
        cores = {name: getattr(self.config.run, name) for name in MACHINE_SETTINGS}
        return (cores if self.config.run.num_envs > 1 else {}) | self.explicit


def plan(
    values: Mapping[str, Sequence[Any]], ranks: int, cores: int, names: Mapping[str, Settings] | None = None
) -> list[SweepRun]:
    """Return all runs of a sweep, checked, in order.

    Args:
        values: {setting: [values]}, with `env` and `seed`.
        ranks: of each run.
        cores: of each rank.
        names: {name: explicit settings} of runs that have a name already, which they keep.

    Raises:
        UserError: naming the first invalid run, and the reason.
    """
    runs = []
    for name, explicit in assign_names(combinations(values), varying_settings(values), names or {}).items():
        try:
            check_flag_combinations(explicit)
            runs.append(SweepRun(name, explicit, resolve_config(explicit, ranks, cores)))
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
    return runs


def combinations(values: Mapping[str, Sequence[Any]]) -> list[Settings]:
    """Return the product of the values.

    The seed changes slowest, so that finished runs are always a complete comparison of fewer seeds.

    Raises:
        UserError: for more than `MAX_RUNS` runs.
    """
    if (total := number_of_runs(values)) > MAX_RUNS:
        raise UserError(f"these are {total:,} runs, {MAX_RUNS:,} are allowed; give fewer values")
    order = sorted(values, key=lambda name: name != "seed")  # stable: the others keep their order
    products = (dict(zip(order, one)) for one in itertools.product(*(values[name] for name in order)))
    return [{name: one[name] for name in values} for one in products]


def number_of_runs(values: Mapping[str, Sequence[Any]]) -> int:
    """Return how many runs {setting: [values]} give."""
    return math.prod(map(len, values.values()))


def varying_settings(values: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the settings that distinguish rows: the environment, and those with several values but the seed."""
    return ["env", *(name for name, found in values.items() if len(found) > 1 and name not in ("env", "seed"))]


def assign_names(runs: Iterable[Settings], shown: Sequence[str], names: Mapping[str, Settings]) -> dict[str, Settings]:
    """Name runs by the settings in `shown` and the seed; runs in `names` keep their names.

    The environment and the seed are in every name, so that a sweep extended by either names all of its runs alike.

    Returns:
        {name: explicit settings}, in order.
    """
    known = {json.dumps(explicit, sort_keys=True): name for name, explicit in names.items()}
    found: dict[str, Settings] = {}
    for explicit in runs:
        name = known.get(json.dumps(explicit, sort_keys=True))
        if name is None:
            values = [f"{key}{format_value(explicit[key])}" for key in shown[1:]]
            parts = [explicit["env"], *values, f"seed{explicit['seed']}"]
            plain = re.sub(r"[^\w.+-]+", "-", "-".join(parts))[:MAX_NAME]
            candidates = itertools.chain([plain], (f"{plain}-{i}" for i in itertools.count(2)))
            name = next(one for one in candidates if one not in names and one not in found)
        found[name] = explicit
    return found
