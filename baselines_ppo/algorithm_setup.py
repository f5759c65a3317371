"""Sets up one call of `learn`, for each algorithm: checked settings, policies, segment processing, training loop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import numpy as np
from gymnasium.vector import AutoresetMode

from baselines_ppo.cloning.start import start_from_demonstrations
from baselines_ppo.config.common_settings import Settings
from baselines_ppo.experiment import recording
from baselines_ppo.experiment.interrupts import stop_on_ctrl_c
from baselines_ppo.experiment.named_arguments import policy_function, training_env
from baselines_ppo.experiment.run_options import RunOptions
from baselines_ppo.experiment.warm_start import load_weights_into
from common import compilation
from common.distributed import communicator
from common.envs.normalization_wrappers import describe_statistics, running_statistics
from common.errors import UserError
from common.optim.minibatch_optimizer import choose_averaging
from common.policies.policy_pair import PolicyFn, build_policies
from common.rollouts.processor import SegmentProcessor
from common.rollouts.return_scaling import RewardNormalizer
from common.rollouts.segment import Segment
from common.training.checkpointing import save_initial_checkpoint
from common.training.loop import TrainingLoop
from common.validation import check_int_argument
from common.vec_env.vector_env_checker import env_layout

if TYPE_CHECKING:
    import gymnasium as gym

    from common.training.stopping import StopCriteria

S = TypeVar("S", bound=Settings)
log = logging.getLogger("baselines_ppo")


class Update(Protocol):
    """The update of an algorithm, as the training loop needs it."""

    def checkpointables(self) -> dict[str, Any]:
        """{name: object with `state` and `restore`}: what a checkpoint contains in addition to the policy."""

    def compile_ahead(self) -> tuple[Callable[[], None], ...]:
        """Functions that compile before the first segment is there."""


class AlgorithmSetup(Generic[S]):
    """One call of `learn`. Used as a context manager, it closes an environment that it has made from an id.

    Args:
        settings_class: the algorithm's `Settings`.
        algorithm_kwargs: {name: value} of the settings that are parameters of `learn`.
        options: the other keyword arguments of `learn`: more settings, and `RunOptions`.
        limits: `StopCriteria`.
        env, policy_fn, seed, callback: as `learn` takes them.

    Attributes:
        settings: the checked settings.
        options: the checked `RunOptions`.
        comm: the ranks.
        seed: of the run, the same on all ranks.
        env: the environment, in a `Monitor` if the run writes its own directory.
        num_envs: environments of this rank.
        horizon: steps per segment of this rank.
        pi, oldpi: the policies, initialised alike on all ranks.
        processor: the `SegmentProcessor`.
        reward_normalizer: the `RewardNormalizer`; None if returns are not scaled.
        averaging_by_group: {group of variables: 'gather' or 'average'}, as chosen, for the run's config.json.

    Raises:
        UserError: for an invalid setting, option, space or environment.
    """

    def __init__(
        self,
        settings_class: type[S],
        algorithm_kwargs: dict[str, Any],
        options: dict[str, Any],
        limits: StopCriteria,
        env: gym.Env | gym.vector.VectorEnv | str,
        policy_fn: PolicyFn | str,
        seed: int | None,
        callback: Any,
    ):
        self.limits = limits
        self.callback = callback
        self.options, self.settings = check_arguments(settings_class, algorithm_kwargs, options, limits)
        seed = None if seed is None else check_int_argument("seed", seed)
        self.comm = self.options.comm or communicator.world()
        self.comm.barrier()  # waits without using a core, and notices a rank that never comes; a broadcast does neither
        self.options.use_roots_outputs(self.comm)
        if self.options.has_outputs:
            recording.check_options(self.options, self.comm)
        with ExitStack() as resources:
            masked_env = resources.enter_context(training_env(env, self.options.action_masks))
            self._prepare(masked_env, policy_function(policy_fn), seed)
            self.resources = resources.pop_all()

    def _prepare(self, env: gym.Env | gym.vector.VectorEnv, policy_fn: PolicyFn, seed: int | None) -> None:
        self.env = env if self.options.run_dir is None else recording.ensure_monitor(env)
        self.seed = self._shared_seed(seed)
        self.pi, self.oldpi = build_policies(env, policy_fn, self.comm, self.seed)
        self._warn_of_statistics_outside_the_policy(env)
        self.num_envs = env_layout(env).num_envs
        self.horizon, minibatch = (getattr(self.settings, name) for name in self.settings.counts())
        self.settings.check_for(self.num_envs)
        self._import_distribution()
        compilation.forget_edited()
        self.processor = SegmentProcessor(self.pi, self.oldpi, self.horizon, self.num_envs, minibatch)
        self._log_sequences(minibatch)
        self.reward_normalizer = None
        if self.settings.scale_returns:
            self.reward_normalizer = RewardNormalizer(self.num_envs, self.settings.gamma, self.comm)
        self.averaging_by_group: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Return the setup."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the environment, if it was made from an id."""
        self.resources.close()

    def _shared_seed(self, seed: int | None) -> int:
        """Rank 0's seed on all ranks; if it is None, one drawn from NumPy's global generator, which is logged."""
        shared = self.comm.broadcast(int(np.random.randint(2**31)) if seed is None else seed)
        if seed is None and self.comm.rank == 0:
            log.info("learn: no seed was given; this run has seed=%d", shared)
        return shared

    def _warn_of_statistics_outside_the_policy(self, env: gym.Env | gym.vector.VectorEnv) -> None:
        """Warn if a wrapper of `env` has running statistics, which no policy file contains.

        The command line, which passes a folder, has its own warning.
        """
        if self.comm.rank > 0 or self.options.folder is not None:
            return
        if found := running_statistics(env):
            log.warning(
                "learn: %s",
                describe_statistics(found, {"observations": "normalise_ob=True", "rewards": "scale_returns=True"}),
            )

    def _log_sequences(self, minibatch: int | None) -> None:
        """Log if the sequences of a policy with a memory are shorter than it asks for, as on many ranks."""
        wanted = min(self.pi.memory_steps, self.horizon // self.num_envs)
        if self.comm.rank == 0 and self.pi.recurrent and self.processor.steps < (wanted,):
            log.info(
                "learn: sequences have %d steps instead of memory_steps=%d, because a minibatch of one rank has %s "
                "samples",
                *self.processor.steps,
                self.pi.memory_steps,
                minibatch,
            )

    def _import_distribution(self) -> None:
        """Import what the action distribution needs here, in the main thread, and not in the threads that compile."""
        pdtype = self.pi.pdtype
        pdtype.pdfromflat(np.zeros((1, *pdtype.param_shape()), np.float32))

    def choose_averaging(self, group: str, parameters: int, batch_size: int) -> str:
        """Choose how the gradients of a group of variables are averaged, and record it in `averaging_by_group`.

        Args:
            group: name, such as "policy and value".
            parameters: number of parameters.
            batch_size: samples of one rank's minibatch.

        Returns:
            'gather' or 'average'.
        """
        averaging = self.options.averaging
        if averaging == "auto":
            averaging = choose_averaging(self.comm.size, parameters, batch_size)
        self.averaging_by_group[group] = averaging
        return averaging

    def scale_rewards(self, seg: Segment) -> None:
        """Scale a segment's rewards in place, if `scale_returns` is set. Collective."""
        if self.reward_normalizer is not None:
            self.reward_normalizer(seg)

    def training(self, update: Update) -> AbstractContextManager[TrainingLoop]:
        """Context manager of the training loop (`begin`): writes the outputs of the run, if any, and handles Ctrl-C."""
        training = self.begin(update)
        context = training
        if self.options.has_outputs:
            context = recording.with_run_outputs(training, self, self.options.run_dir, self.options.progress)
        return stop_on_ctrl_c(training, context)

    def begin(self, update: Update) -> TrainingLoop:
        """The `TrainingLoop` that drives `update`, with equal state on all ranks: new, resumed, or from a policy."""
        training = self._training_loop(update)
        training.averaging_by_group = self.averaging_by_group
        self.comm.barrier()
        self._sync_policy()
        options = self.options
        if options.checkpoint is not None:
            training.restore(options.checkpoint)
        elif options.load_path is not None:
            load_weights_into(options.load_path, self.pi, self.comm)
        elif self.comm.broadcast(options.demonstrations is not None):
            start_from_demonstrations(self, training)
            self._sync_policy()
            save_initial_checkpoint(training)
        if self.comm.rank == 0:
            self._log_length(training)
        return training

    def _training_loop(self, update: Update) -> TrainingLoop:
        checkpointables = update.checkpointables()
        if self.reward_normalizer is not None:
            checkpointables["returns"] = self.reward_normalizer
        options = self.options
        return TrainingLoop(
            self.env,
            self.pi,
            self.oldpi,
            horizon=self.horizon,
            limits=self.limits,
            seed=self.seed,
            comm=self.comm,
            checkpointables=checkpointables,
            callback=self.callback,
            compile_ahead=(self.processor.compile, *update.compile_ahead()),
            whole_episodes=getattr(self.settings, "whole_episodes", False),
            bootstrap_time_limits=self.settings.bootstrap_time_limits,
            env_threads=options.env_threads,
            logger=options.logger,
            folder=options.folder,
            heartbeat=options.heartbeat,
            checkpoint_every=options.checkpoint_every,
        )

    def _sync_policy(self) -> None:
        """Broadcast rank 0's variables and observation statistics."""
        for x in self.pi.get_variables():
            # np.array copies: the value of a scalar is not a writable array
            x.assign(self.comm.broadcast_array(np.array(x.numpy())))
        if self.pi.ob_rms is not None:
            self.pi.ob_rms.restore(self.comm.broadcast(self.pi.ob_rms.state()))

    def _log_length(self, training: TrainingLoop) -> None:
        """Log if a resumed run has reached its limit, or if complete iterations exceed max_timesteps."""
        limits, collector = self.limits, training.collector
        done = limits.progress(
            training.timesteps_so_far, training.episodes_so_far, training.iters_so_far, training.elapsed_before
        )
        # otherwise the number of steps of an iteration is not known in advance
        has_fixed_length = not collector.whole_episodes and collector.adapter.mode is not AutoresetMode.NEXT_STEP
        if done >= 1:
            log.info("learn: the checkpoint is of a run that has reached its limit, %s; nothing is left to do", limits)
        elif limits.max_timesteps and has_fixed_length:
            per_iteration = self.horizon * self.comm.size
            end = limits.rounded_up(training.timesteps_so_far, per_iteration)
            if end != limits.max_timesteps:
                log.info(
                    "learn: max_timesteps=%s becomes %s: iterations are whole, of %s steps",
                    limits.max_timesteps,
                    end,
                    per_iteration,
                )


def check_arguments(
    settings_class: type[S], algorithm_kwargs: dict[str, Any], options: dict[str, Any], limits: StopCriteria
) -> tuple[RunOptions, S]:
    """Split the keyword arguments of `learn` into run options and settings, and check them.

    Args:
        settings_class, algorithm_kwargs, options, limits: as `AlgorithmSetup` takes them.

    Raises:
        UserError: for an unknown name or an invalid value.
    """
    run_names = {field.name for field in fields(RunOptions)}
    unknown = options.keys() - run_names - {field.name for field in fields(settings_class)}
    if unknown:
        raise UserError(
            f"learn() does not take {', '.join(sorted(unknown))}; {settings_class.__name__} lists its settings"
        )
    more_settings = {name: value for name, value in options.items() if name not in run_names}
    settings = settings_class(**algorithm_kwargs, **more_settings)
    settings.check()
    settings.check_with(limits)
    run_options = RunOptions(**{name: value for name, value in options.items() if name in run_names})
    run_options.validate()
    return run_options, settings
