"""The lines that a run prints at its start and at its end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from baselines_ppo.cli.command_lines import play_command, resume_command
from baselines_ppo.config.combinations import STOP_UNITS, describe_length, stagger_conflict, unused_settings
from baselines_ppo.config.presets import PRESETS
from baselines_ppo.config.registry import STOP_SETTINGS, flag_of
from baselines_ppo.config.resolved_config import ResolvedConfig
from baselines_ppo.config.run_settings import RunSettings
from common.errors import UserError
from common.runs.results import RunResults
from common.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from common.training.loop import TrainingLoop


def print_run_header(
    config: ResolvedConfig,
    ranks: int,
    counters: Mapping[str, Any] | None = None,
    resume_lines: Sequence[str] = (),
) -> None:
    """Print what a run is going to do, in a few lines.

    Args:
        config: the run's.
        ranks: number of ranks.
        counters: those of the checkpoint from which it resumes; None if there is none.
        resume_lines: lines about the resume.
    """
    run = config.run
    for line in _setup_lines(config, ranks):
        print(line)
    if run.load_path and counters is None:
        print(
            f"initial policy: {run.load_path} (its weights and observation filter); "
            "Adam, return scale and counters start from zero"
        )
    for line in _warning_lines(config, ranks):
        print(line)
    for line in resume_lines:
        print(f"resume: {line}")
    if "num_timesteps" in config.explicit or counters:
        for line in describe_length(config, ranks, counters):
            print(line)


def _setup_lines(config: ResolvedConfig, ranks: int) -> Iterator[str]:
    run = config.run
    objective = getattr(config.algorithm, "objective", None)
    algorithm = f"{run.alg} ({objective})" if objective else run.alg
    yield (
        f"{run.env}: {algorithm}, preset {run.preset}, {run.policy} policy, "
        f"seed {run.seed}, {ranks} {'rank' if ranks == 1 else 'ranks'}"
    )
    yield (
        f"per rank: {run.num_envs} environment{'s' * (run.num_envs != 1)}, segments of {config.rollout_steps} steps, "
        f"minibatches of {config.minibatch_samples or 'all'}  ->  {run.run_dir}"
    )


def _warning_lines(config: ResolvedConfig, ranks: int) -> Iterator[str]:
    """Yield a line for each setting that has no effect, or not the expected one."""
    run, algorithm = config.run, config.algorithm
    conflict = stagger_conflict(algorithm)
    if PRESETS[run.preset].stagger and not run.stagger and "stagger" not in config.explicit and conflict:
        setting, reason = conflict
        yield f"--stagger of preset {run.preset} is disabled by {setting}: {reason}"
    for name, requirement in unused_settings(config):
        yield f"{name} has no effect here: it requires {requirement}"
    yield from interval_warnings(config, ranks)
    is_standardised = getattr(algorithm, "standardise_adv", True) and not getattr(algorithm, "whole_episodes", False)
    if config.rollout_steps == 1 and is_standardised:
        yield (
            "segments of one step: their only advantage is 0 after standardisation, so the policy does not learn; "
            "use longer segments"
        )


def length_text(run: RunSettings) -> str:
    """Return the length of a run as text that follows the current number of steps, such as " of 1,000 steps"."""
    if run.num_timesteps:
        return f" of {run.num_timesteps:,} steps"
    limits = {STOP_UNITS[name]: getattr(run, name) for name in STOP_SETTINGS}
    return " steps" + "".join(f" of {limit:,} {unit}" for unit, limit in limits.items() if limit)


def interval_warnings(config: ResolvedConfig, ranks: int) -> list[str]:
    """Return a line for each interval that is longer than the run: evaluations, and histograms."""
    run = config.run
    steps = config.rollout_steps * ranks
    iterations = run.max_iters or -(-(run.num_timesteps or 0) // steps)
    intervals = (
        ("eval_every", run.eval_every, "only the final policy is evaluated"),
        ("checkpoint_every", run.checkpoint_every if run.histograms else 0, "--histograms writes none"),
    )
    return [
        f"{flag_of(name)} {every:,} iterations: the run ends after about {iterations:,}, so {consequence}"
        for name, every, consequence in intervals
        if every > iterations > 0
    ]


def final_return(training: TrainingLoop, directory: RunDirectory) -> float:
    """Return the mean return of the last training episodes, as report, plot and sweep compute it.

    The Monitor files order the episodes by their end times. `rewbuffer`, which orders those of one iteration by
    rank, is used if they contain no episode.
    """
    curve = None
    with contextlib.suppress(UserError):
        curve = RunResults(directory.path).curve
    episodes = len(training.rewbuffer)
    return sum(training.rewbuffer) / episodes if curve is None else curve.final_return(episodes)


def print_run_summary(
    training: TrainingLoop, directory: RunDirectory, config: ResolvedConfig, ranks: int, status: int
) -> None:
    """Print the last lines of a run. A quiet run that a signal stopped logs only how to resume it.

    Args:
        training: the finished training.
        directory: the run's directory.
        config: the run's.
        ranks: number of ranks.
        status: the exit status.
    """
    resume_hint = f"resume with: {resume_command(directory.path, ranks)}" if training.progress < 1 else None
    if config.run.quiet:
        if status and resume_hint:
            logging.getLogger("baselines_ppo").warning(
                "stopped early at %s steps; %s", f"{training.timesteps_so_far:,}", resume_hint
            )
        return
    if training.rewbuffer:
        mean = final_return(training, directory)
        print(f"mean return of the last {len(training.rewbuffer)} training episodes: {mean:.6g}")
    print(f"{training.timesteps_so_far:,} steps in {training.elapsed:.0f} s  ->  {directory.path}")
    if resume_hint:
        print(f"stopped early; {resume_hint}")
    print(f"watch it: {play_command(directory.path)}")
