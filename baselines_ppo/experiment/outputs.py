"""The logger and the callbacks of rank 0: everything that is written or displayed during a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from baselines_ppo.config.resolved_config import ResolvedConfig
from baselines_ppo.experiment.artifacts import environment_metadata, save_policy
from baselines_ppo.experiment.callbacks import (
    BestPolicy,
    EvalCallback,
    HistogramCallback,
    SaveBestCallback,
    SavePolicyCallback,
)
from baselines_ppo.experiment.summary import length_text
from common.envs.factory import make_env
from common.loggers.console import ProgressDisplay
from common.loggers.live_display import make_progress_display
from common.loggers.logger import CsvOutput, JsonOutput, Logger
from common.loggers.tensorboard import TensorBoardOutput
from common.runs.run_directory import RunDirectory
from common.storage.json_values import to_json
from common.storage.write_errors import raises_write_error
from common.training.callbacks import Callback


class RunOutputs(NamedTuple):
    """The outputs of rank 0 during a run.

    Attributes:
        logger: takes a row of each iteration.
        callbacks: save the final and the best policy, and write histograms.
        display: one of the logger's outputs; None for a quiet run.
    """

    logger: Logger
    callbacks: list[Callback]
    display: ProgressDisplay | None


def make_run_outputs(directory: RunDirectory, config: ResolvedConfig, progress: Callable[[], float]) -> RunOutputs:
    """Make the outputs of rank 0. None of them changes a bit of the training.

    Args:
        directory: the run's directory.
        config: the run's.
        progress: function that returns the completed fraction of the training, called when a row is displayed.
    """
    run, path = config.run, directory.path
    tensorboard = TensorBoardOutput(path / "tb")
    tensorboard.hyperparameters({name: to_json(value, name) for name, value in config.to_dict().items()})
    display = None if run.quiet else make_progress_display(progress, length_text(run), run.log_interval)
    displays = [] if display is None else [display]
    logger = Logger([CsvOutput(path / "progress.csv"), JsonOutput(path / "progress.json"), tensorboard, *displays])
    callbacks: list[Callback] = [
        SavePolicyCallback(lambda pi: save_policy(pi, directory, config)),
        make_best_policy_callback(directory, config, tensorboard),
    ]
    if run.histograms:
        callbacks.append(HistogramCallback(tensorboard))
    return RunOutputs(logger, callbacks, display)


def make_best_policy_callback(
    directory: RunDirectory, config: ResolvedConfig, tensorboard: TensorBoardOutput
) -> Callback:
    """Return the callback that saves the best policy: by evaluations, if there are any, else by training episodes."""
    run, path = config.run, directory.path
    by = f"{run.eval_episodes} deterministic episodes" if run.eval_every else "EpRewMean"
    best = BestPolicy(path, by, **environment_metadata(config))
    if not run.eval_every:
        return SaveBestCallback(best)

    def make_evaluation_logger() -> Logger:
        with raises_write_error(path):
            directory.verify_ownership()  # it may have been removed since the run has started
        return Logger([CsvOutput(path / "evaluations.csv"), tensorboard.another()])

    return EvalCallback(
        lambda: make_env(run.env, training=False, env_kwargs=run.env_kwargs),
        run.eval_every,
        run.eval_episodes,
        make_evaluation_logger,
        best,
    )
