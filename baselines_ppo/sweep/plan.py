"""What a sweep runs: the product of its values, each run's name and command line. Starts nothing, writes nothing."""

import itertools
import json
import math
import re
from dataclasses import dataclass

from baselines_ppo.cli.command_lines import format_value
from baselines_ppo.config.combinations import check_flag_combinations
from baselines_ppo.config.registry import MACHINE_SETTINGS, STOP_SETTINGS
from baselines_ppo.config.resolved_config import ResolvedConfig
from baselines_ppo.experiment.setup import resolve_config
from common.errors import UserError

PROG = "baselines_ppo.sweep"
MAX_RUNS = 10_000
MAX_NAME = 150  # characters; file systems take 255 bytes


@dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Attributes:
        name: of its folder.
        typed: {setting: value}, what the sweep's line says of it.
        config: its resolved settings.
    """

    name: str
    typed: dict
    config: ResolvedConfig

    @property
    def limits(self):
        """{limit: value}: how long it is to be."""
        return {name: getattr(self.config.run, name) for name in STOP_SETTINGS if getattr(self.config.run, name)}

    @property
    def typed_with_cores(self):
        """What is typed for it. By itself a run of several environments would take all cores, which it shares with other runs."""
        cores = {name: getattr(self.config.run, name) for name in MACHINE_SETTINGS}
        return (cores if self.config.run.num_envs > 1 else {}) | self.typed


def plan(values, ranks, cores, names=None):
    """All runs of a sweep, checked, in order.

    Args:
        values: {setting: [values]}, with `env` and `seed`.
        ranks: of each run.
        cores: of each rank.
        names: {name: typed} of runs that have a name already, which they keep.

    Raises:
        UserError: naming the first run that cannot be, and why.
    """
    runs = []
    for name, typed in named(combinations(values), differing(values), names or {}).items():
        try:
            check_flag_combinations(typed)
            runs.append(Run(name, typed, resolve_config(typed, ranks, cores)))
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
    return runs


def combinations(values):
    """[{setting: value}], the product. The seed changes slowest: what has finished is always a whole comparison of fewer seeds."""
    if (total := number_of_runs(values)) > MAX_RUNS:
        raise UserError(f"these are {total:,} runs; give fewer values, for {MAX_RUNS:,} at most")
    order = sorted(values, key=lambda name: name != "seed")  # stable: the others as typed
    products = (dict(zip(order, one)) for one in itertools.product(*(values[name] for name in order)))
    return [{name: one[name] for name in values} for one in products]


def number_of_runs(values):
    """How many runs {setting: [values]} make."""
    return math.prod(map(len, values.values()))


def differing(values):
    """Names of the settings that tell a sweep's rows apart: the environment, and what has several values, the seed apart."""
    return ["env", *(name for name, found in values.items() if len(found) > 1 and name not in ("env", "seed"))]


def named(typed_runs, shown, names):
    """{name: typed} in order, made of the settings in `shown` and the seed; runs in `names` keep theirs.

    The environment and the seed are in every name, so that a sweep extended by either names all of its runs alike.
    """
    known = {json.dumps(typed, sort_keys=True): name for name, typed in names.items()}
    found = {}
    for typed in typed_runs:
        name = known.get(json.dumps(typed, sort_keys=True))
        if name is None:
            parts = [typed["env"], *(f"{key}{format_value(typed[key])}" for key in shown[1:]), f"seed{typed['seed']}"]
            plain = re.sub(r"[^\w.+-]+", "-", "-".join(parts))[:MAX_NAME]
            name = next(
                one
                for one in itertools.chain([plain], (f"{plain}-{i}" for i in itertools.count(2)))
                if one not in names and one not in found
            )
        found[name] = typed
    return found
