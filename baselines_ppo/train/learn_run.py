"""A training of the command line, in its directory: everything that needs TensorFlow."""

from __future__ import annotations

import contextlib
import gc
import signal
from dataclasses import replace
from typing import Any

import baselines_ppo.pposgd_simple
import baselines_ppo.trpo_mpi
import baselines_ppo.vpg
from baselines_ppo.cli.command_lines import report_command, to_argv
from baselines_ppo.cli.log_messages import lines_to_stdout
from baselines_ppo.cloning.behaviour_cloning import LOGGER
from baselines_ppo.cloning.start import Source, read_for_run
from baselines_ppo.config.config_files import CONFIG_FORMAT
from baselines_ppo.config.registry import STOP_SETTINGS
from baselines_ppo.config.resolved_config import ResolvedConfig
from baselines_ppo.config.run_settings import RunSettings
from baselines_ppo.experiment.artifacts import draw_report
from baselines_ppo.experiment.directory import acquire_run_directory, make_default_run_directory
from baselines_ppo.experiment.metadata import git_commit, start_metadata
from baselines_ppo.experiment.outputs import make_run_outputs
from baselines_ppo.experiment.summary import print_run_header, print_run_summary
from baselines_ppo.experiment.warm_start import INITIAL_COPY, load_initial_policy, save_initial_copy
from baselines_ppo.policy_registry import policy_class
from baselines_ppo.train.plan import RunPlan
from baselines_ppo.train.preflight import build_probe_policy, check_resources, check_save_policy_path
from baselines_ppo.train.resume import resume_lines, rewind_to_checkpoint
from baselines_ppo.train.session import TrainingSession, close_env
from baselines_ppo.train.signals import training_stop_signals
from common.demonstrations.files import source_name
from common.envs.mask_layout import has_action_mask
from common.envs.normalization_wrappers import describe_statistics, running_statistics
from common.loggers.console import ProgressDisplay, tolerate_closed_stream
from common.policies.base import Policy
from common.runs.checkpoint_store import Checkpoint
from common.runs.run_directory import RunDirectory
from common.runtime.stop_signals import StopSignals
from common.storage.write_errors import WriteError
from common.training.callbacks import Callback
from common.training.loop import TrainingLoop
from common.vec_env.factory import make_vector_env
from common.vec_env.in_process import InProcessVectorEnv

LEARN = {
    "ppo": baselines_ppo.pposgd_simple.learn,
    "trpo": baselines_ppo.trpo_mpi.learn,
    "vpg": baselines_ppo.vpg.learn,
}
LEARN_OPTIONS = (
    *("seed", "averaging", "env_threads", "checkpoint_every", "action_masks"),
    *("demonstration_epochs", "demonstration_stepsize"),
)
NORMALIZATION_FLAGS = {"observations": "--normalise-ob true", "rewards": "--scale-returns true"}


def learn_run(plan: RunPlan, session: TrainingSession) -> int:
    """Check the run, prepare its directory and train; returns the exit status.

    Args:
        plan: what the run is going to do.
        session: this rank's part of the run.
    """
    comm = session.comm
    pi = build_probe_policy(plan.config)
    settings = comm.run_on_root(pi.settings)  # one precision for all ranks, whose processors may differ
    config = plan.config.with_policy(settings).with_run(action_masks=has_action_mask(pi.ob_space, pi.ac_space))
    check_resources(config, pi)
    initial_state = None
    if plan.previous is None and config.run.load_path:
        load_path, initial_state = load_initial_policy(config.run.load_path, pi, comm, to_argv)
        config = config.with_run(load_path=load_path)
    demonstrations = None
    if plan.previous is None and config.run.demonstrations:
        config = config.with_run(demonstrations=source_name(config.run.demonstrations))
        demonstrations = read_for_run(config.run, pi, comm)
    comm.run_on_root(lambda: check_save_policy_path(config.run))
    path = comm.run_on_root(lambda: config.run.run_dir or make_default_run_directory(config.run.env, config.run.seed))
    config = config.with_run(run_dir=path)
    directory = acquire_run_directory(path, comm, plan.previous is not None, config.run.keep_checkpoints)
    session.directory = directory
    comm.run_on_root(lambda: check_save_policy_path(config.run))  # again: it may be in the run's directory
    try:
        checkpoint = None
        if plan.previous is not None:
            checkpoint = rewind_to_checkpoint(directory, comm, plan.exact, pi)
            if checkpoint is None:  # it was killed before it had cloned them
                demonstrations = read_for_run(config.run, pi, comm)
        config_file = None
        if comm.rank == 0:
            plan = replace(plan, config=config)
            config_file = start_directory(plan, directory, comm.size, checkpoint, pi, initial_state)
        comm.barrier()
        return train_and_finish(config, session, directory, checkpoint, config_file, demonstrations)
    except WriteError as error:
        session.reserve_fd.close()  # there may be no file descriptor left
        error.add_note(directory.recovery_hint(error))
        raise


def start_directory(
    plan: RunPlan,
    directory: RunDirectory,
    ranks: int,
    checkpoint: Checkpoint | None,
    pi: Policy,
    initial_state: dict[str, Any] | None,
) -> dict[str, Any]:
    """Print the header, write what the directory contains before training, and return its config.json (rank 0 only)."""
    config = plan.config
    if not config.run.quiet:
        lines = []
        if plan.previous is not None:
            lines = resume_lines(plan.previous, config.explicit, checkpoint, directory.checkpoints.skipped)
        with tolerate_closed_stream():
            counters = checkpoint.metadata["counters"] if checkpoint else None
            print_run_header(config, ranks, counters, lines)
    if initial_state is not None:
        save_initial_copy(directory, pi, initial_state, config.run.load_path, config)
    config_file = {
        "format": CONFIG_FORMAT,
        "typed": config.explicit,
        "settings": config.to_dict(),
        "ranks": ranks,
        "seed": config.run.seed,
        "git_commit": git_commit(),
        **start_metadata(),
    }
    directory.write_config(config_file)
    return config_file


def train_and_finish(
    config: ResolvedConfig,
    session: TrainingSession,
    directory: RunDirectory,
    checkpoint: Checkpoint | None,
    config_file: dict[str, Any] | None,
    demonstrations: Source | None = None,
) -> int:
    """Build the environments and the outputs, train, and write the policy and the report; returns the exit status."""
    comm = session.comm
    session.record_in(directory)
    env = make_envs(config.run, session, directory)
    run_callback = RunCallback(directory, config_file)
    callbacks: list[Callback] = [run_callback]
    logger = None
    if comm.rank == 0:
        outputs = make_run_outputs(directory, config, lambda: run_callback.training.progress)
        logger = outputs.logger
        session.attach_logger(logger)
        run_callback.display = outputs.display
        callbacks += outputs.callbacks
    with contextlib.nullcontext() if config.run.quiet else lines_to_stdout(LOGGER):
        call_learn(
            config,
            env,
            directory,
            comm=comm,
            logger=logger,
            checkpoint=checkpoint,
            demonstrations=demonstrations,
            callback=callbacks,
            heartbeat=session.heartbeat,
        )
    if logger is not None:
        logger.close()
    training = run_callback.training
    status = 128 + training.stop_requested if isinstance(training.stop_requested, int) else 0
    if comm.rank == 0:
        with tolerate_closed_stream():
            print_run_summary(training, directory, config, comm.size, status)
    session.close()
    if comm.rank == 0 and config.run.report:
        finish_with_report(config, directory, status)
    comm.barrier()
    return status


class RunCallback(Callback):
    """Handles stop signals during the training, and completes config.json at its start. Used on every rank.

    Args:
        directory: the run's directory.
        config_file: the contents of config.json, on rank 0; None on other ranks.

    Attributes:
        display: rank 0's progress display, on which a signal is acknowledged; None if there is none.
        training: the training; set when it starts.
    """

    training: TrainingLoop

    def __init__(self, directory: RunDirectory, config_file: dict[str, Any] | None) -> None:
        self.directory = directory
        self.config_file = config_file
        self.display: ProgressDisplay | None = None
        self.signals: StopSignals | None = None

    def on_training_start(self, training: TrainingLoop) -> None:
        """Record how gradients are averaged, and install the signal handlers."""
        self.training = training
        if self.config_file is not None:
            self.directory.write_config(self.config_file | {"averaging": dict(training.averaging_by_group)})
        self.signals = training_stop_signals(training, self.display and self.display.notify)
        self.signals.install()
        gc.collect()
        gc.freeze()  # about a million objects of TensorFlow, which later collections need not visit

    def close(self) -> None:
        """Restore the signal handlers."""
        if self.signals is not None:
            self.signals.restore()


def call_learn(config: ResolvedConfig, env: InProcessVectorEnv, directory: RunDirectory, **options: Any) -> None:
    """Call `learn` of the run's algorithm with its settings.

    Args:
        config: the run's.
        env: this rank's environments.
        directory: the run's directory.
        options: further arguments of `learn`.
    """
    run = config.run
    cls = policy_class(run.policy)
    LEARN[run.alg](
        env,
        lambda name, ob_space, ac_space: cls(name, ob_space, ac_space, **config.policy_kwargs),
        **vars(config.algorithm),
        max_timesteps=run.num_timesteps or 0,
        **{name: getattr(run, name) for name in STOP_SETTINGS[1:]},
        **{name: getattr(run, name) for name in LEARN_OPTIONS},
        load_path=run.load_path and directory.path / INITIAL_COPY,
        folder=directory,
        **options,
    )


def make_envs(run: RunSettings, session: TrainingSession, directory: RunDirectory) -> InProcessVectorEnv:
    """Make this rank's environments, which the session closes; rank 0 prints if they already normalise something."""
    comm = session.comm
    env = make_vector_env(
        run.env,
        run.num_envs,
        comm.rank,
        directory.path,
        run.env_workers,
        reward_scale=run.reward_scale,
        env_kwargs=run.env_kwargs,
        stagger=run.stagger and comm.size,
        action_masks=run.action_masks,
    )
    session.exit_stack.callback(close_env, env)
    if comm.rank == 0 and not run.quiet and (statistics := running_statistics(env)):
        with tolerate_closed_stream():
            print(describe_statistics(statistics, NORMALIZATION_FLAGS))
    return env


def finish_with_report(config: ResolvedConfig, directory: RunDirectory, status: int) -> None:
    """Draw the report, unless a signal other than Ctrl-C ended the run: the process may be killed soon."""
    if status in (0, 128 + signal.SIGINT):
        draw_report(directory, config)
    elif not config.run.quiet:
        print(f"report: not drawn, to exit quickly; draw it with: {report_command(directory.path)}", flush=True)
