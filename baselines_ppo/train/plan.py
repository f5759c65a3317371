"""The plan of a run: its settings, and the run that it resumes. TensorFlow is not needed yet."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Any

from baselines_ppo.config.combinations import check_flag_combinations
from baselines_ppo.config.config_files import CONFIG_FORMAT, load_overrides
from baselines_ppo.config.resolved_config import ResolvedConfig
from baselines_ppo.experiment.directory import check_early_for_run
from baselines_ppo.experiment.setup import assign_cores, resolve_config
from baselines_ppo.train.previous_run import PreviousRun, load_previous_run
from baselines_ppo.train.resume import resume_config
from common.distributed.communicator import Communicator
from common.errors import UserError


@dataclass
class RunPlan:
    """The plan of a run.

    Attributes:
        config: its settings; of a resumed run `explicit` includes those of its start.
        previous: the run that is resumed; None for a new one.
        exact: whether it resumes from a scheduled checkpoint only.
    """

    config: ResolvedConfig
    previous: PreviousRun | None = None
    exact: bool = False


def plan_run(explicit: dict[str, Any], args: argparse.Namespace, comm: Communicator, cores: int) -> RunPlan:
    """Resolve the settings of a new or resumed run.

    Args:
        explicit: the settings that the user gave.
        args: the flags that are not settings.
        comm: the ranks.
        cores: number of cores of each rank.

    Raises:
        UserError: on all ranks, for an invalid setting, or a run that cannot be resumed.
    """
    if args.resume and args.config:
        raise UserError("--resume uses the settings in the run's directory; leave --config out")
    if args.resume:
        if "run_dir" not in explicit:
            raise UserError("--resume needs --run-dir, the directory of the run to resume")
        previous = load_previous_run(explicit["run_dir"], comm, allow_missing=args.resume == "auto")
        if previous is not None:
            config = resume_config(previous, explicit, comm.size)
            check_has_env(config.explicit)
            return RunPlan(assign_cores(config, cores), previous, args.resume == "exact")
    stored = explicit
    if args.config:
        explicit, stored = load_overrides(args.config, explicit, comm.size)
    check_flag_combinations(explicit)
    check_has_env(explicit)
    config = resolve_config(explicit, comm.size, cores, stored)
    run_dir = config.run.run_dir
    if run_dir is not None and not args.print_config:  # checked again later, after the slow import of TensorFlow
        comm.run_on_root(lambda: check_early_for_run(run_dir))
    return RunPlan(config)


def check_has_env(explicit: dict[str, Any]) -> None:
    """Raises UserError if no environment is given."""
    if "env" not in explicit:
        raise UserError("--env is missing; name a Gymnasium environment, such as --env Hopper-v4")


def print_config(config: ResolvedConfig, ranks: int) -> None:
    """Print the settings of a run as JSON, as its config.json would contain them."""
    contents = {"format": CONFIG_FORMAT, "ranks": ranks, "typed": config.explicit, "settings": config.to_dict()}
    print(json.dumps(contents, indent=1))
