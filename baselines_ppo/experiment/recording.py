"""`learn(run_dir=..., progress=True)`: a run from Python with the outputs of the command line."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from baselines_ppo.config.config_files import LEARN_FORMAT
from baselines_ppo.config.policy_settings import POLICY_CLASS_NAMES
from baselines_ppo.config.resolved_config import ResolvedConfig
from baselines_ppo.config.run_settings import RunSettings
from baselines_ppo.config.settings import ALGORITHMS
from baselines_ppo.experiment.directory import acquire_run_directory
from baselines_ppo.experiment.metadata import start_metadata
from baselines_ppo.experiment.outputs import make_run_outputs
from baselines_ppo.experiment.progress import stop_settings
from baselines_ppo.experiment.run_options import RunOptions
from baselines_ppo.experiment.summary import length_text
from common.demonstrations.files import source_name
from common.distributed.communicator import Communicator
from common.envs.mask_layout import has_action_mask
from common.envs.monitor import Monitor, find_monitor
from common.errors import UserError
from common.loggers.live_display import make_progress_display
from common.loggers.logger import Logger
from common.storage.json_values import split_storable, to_json
from common.training.loop import TrainingLoop

if TYPE_CHECKING:
    from baselines_ppo.algorithm_setup import AlgorithmSetup

KEEP_CHECKPOINTS = 3  # number of scheduled checkpoints
POLICY_NAMES = {class_name: name for name, class_name in POLICY_CLASS_NAMES.items()}


def check_options(options: RunOptions, comm: Communicator) -> None:
    """Check the `RunOptions` of a run with outputs on rank 0.

    Raises:
        UserError: on all ranks, if a logger or directory is given besides `run_dir` or `progress`.
    """
    conflicts = comm.broadcast([name for name in ("logger", "folder") if getattr(options, name) is not None])
    if conflicts:
        raise UserError(f"run_dir and progress already provide a {conflicts[0]}; leave {conflicts[0]}= out")


def ensure_monitor(env: Any) -> Any:
    """Return a single environment in a Monitor, if it has none; a vector environment contains its own."""
    return Monitor(env) if isinstance(env, gym.Env) and find_monitor(env) is None else env


@contextlib.contextmanager
def with_run_outputs(
    training: TrainingLoop, setup: AlgorithmSetup, run_dir: Path | None, progress: bool
) -> Iterator[TrainingLoop]:
    """Context manager for a training with a run's outputs: logs, checkpoints, Monitor files and the final policy.

    Args:
        training: the `TrainingLoop`.
        setup: its `AlgorithmSetup`.
        run_dir: the run's directory, the same on all ranks; None for none.
        progress: whether rank 0 shows the progress display.

    Raises:
        UserError: on all ranks, if the directory contains a run, or it cannot be written.
    """
    is_root = setup.comm.rank == 0
    config = run_config(setup, run_dir, progress)
    with contextlib.ExitStack() as exit_stack:
        if run_dir is not None:
            directory = acquire_run_directory(run_dir, setup.comm, False, KEEP_CHECKPOINTS)
            training.folder = directory
            exit_stack.callback(directory.release)
            for number, monitor in enumerate(training.collector.monitors):
                if isinstance(monitor, Monitor) and monitor.rows is None:
                    monitor.write_to(directory.path / f"{setup.comm.rank}.{number}.monitor.csv")
                    exit_stack.callback(monitor.write_to, None)
        if is_root:
            if run_dir is not None:
                directory.write_config(config_file(setup, config))
                outputs = make_run_outputs(directory, config, lambda: training.progress)
                training.logger = outputs.logger
                training.callbacks += outputs.callbacks
            else:
                run = config.run
                display = make_progress_display(lambda: training.progress, length_text(run), run.log_interval)
                training.logger = Logger([display])
            exit_stack.callback(training.logger.close)
        try:
            with training:
                yield training
        except BaseException as error:
            checkpoint = training.rescue()
            if checkpoint is not None:
                error.add_note(
                    f"the last iteration is saved in {checkpoint}; load_policy and learn(load_path=...) can read it"
                )
            raise


def run_config(setup: AlgorithmSetup, run_dir: Path | None, progress: bool) -> ResolvedConfig:
    """Return the config of a run from Python, as far as it has the settings of the command line.

    Settings that differ from the defaults count as given by the user.
    """
    spec = getattr(setup.env, "spec", None)
    env_kwargs, lost_env_kwargs = split_storable(spec.kwargs) if spec else (None, {})
    class_name = type(setup.pi).__name__
    options = setup.options
    run = RunSettings(
        env=spec.id if spec else None,
        env_kwargs=env_kwargs,
        action_masks=has_action_mask(setup.pi.ob_space, setup.pi.ac_space),
        preset="learn()",
        alg=next(name for name, cls in ALGORITHMS.items() if isinstance(setup.settings, cls)),
        policy=POLICY_NAMES.get(class_name, class_name),
        seed=setup.seed,
        num_envs=setup.num_envs,
        batch="per-rank",
        averaging=options.averaging,
        env_threads=options.env_threads,
        checkpoint_every=options.checkpoint_every,
        demonstrations=None if options.demonstrations is None else source_name(options.demonstrations),
        demonstration_epochs=options.demonstration_epochs,
        demonstration_stepsize=options.demonstration_stepsize,
        env_workers=0,
        keep_checkpoints=KEEP_CHECKPOINTS,
        run_dir=run_dir and str(run_dir),
        quiet=not progress,
        report=False,
        **stop_settings(setup.limits),
    )
    config = ResolvedConfig(run, setup.settings, setup.pi.spec()["settings"], lost_env_kwargs=lost_env_kwargs or {})
    return replace(config, explicit=_explicit_settings(config, type(setup.pi)))


def _explicit_settings(config: ResolvedConfig, policy_class: type) -> dict[str, Any]:
    values = config.values()
    defaults = {field.name: field.default for field in fields(config.algorithm)}
    policy_defaults = {name: x.default for name, x in inspect.signature(policy_class).parameters.items()}
    explicit = {
        name: values[name] for name in ("env", "policy", "seed", *defaults) if values[name] != defaults.get(name)
    }
    changed = {name: value for name, value in config.policy_kwargs.items() if value != policy_defaults.get(name)}
    return explicit | changed


def config_file(setup: AlgorithmSetup, config: ResolvedConfig) -> dict[str, Any]:
    """Return the contents of the config.json of a run from Python."""
    return {
        "format": LEARN_FORMAT,
        "typed": {name: to_json(value, name) for name, value in config.explicit.items()},
        "settings": {name: to_json(value, name) for name, value in config.to_dict().items()},
        "ranks": setup.comm.size,
        "seed": setup.seed,
        "averaging": setup.averaging_by_group,
        **start_metadata(),
    }
