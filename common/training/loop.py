"""The training loop that every algorithm shares: stop criteria, callbacks, statistics, logs and checkpoints.

It knows no loss. An algorithm writes its own steps between `collect` and `end_iteration`:

    with training:
        for iteration in training.iterations():
            seg = training.collect()
            ...
            training.end_iteration(seg, {"loss_...": ...})
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from common import seeding
from common.diagnostics.replica_check import check_synced
from common.distributed.communicator import Communicator
from common.distributed.heartbeat import Heartbeat
from common.errors import EnvError, NonFiniteError, UserError
from common.rollouts.collector import Collector
from common.rollouts.segment import Segment, drop_env_axis
from common.runtime import compilation_cache
from common.runtime.crash_stacks import stacks
from common.runtime.thread_pool import NamedThreadPool
from common.storage.write_errors import raises_write_error
from common.training.callbacks import Callback, Callbacks, as_callbacks, wants_to_stop
from common.training.checkpointing import dump_crash, rescue_state, restore_state, save_checkpoint
from common.training.state import Checkpointable, check_state_finite, state_arrays
from common.training.statistics import log_row, segment_statistics
from common.training.stopping import StopCriteria

if TYPE_CHECKING:
    from common.loggers.logger import Logger
    from common.policies.base import Policy
    from common.runs.run_directory import RunDirectory


class TrainingLoop:
    """The training of one algorithm, on all ranks.

    Args:
        env: this rank's `gymnasium.Env` or `VectorEnv`.
        pi, oldpi: the policies.
        horizon: steps of a segment of this rank.
        limits: validated stop criteria.
        seed: the run's seed, equal on all ranks.
        comm: the ranks.
        checkpointables: {name: object}, what a checkpoint holds in addition to the policy.
        callback: a `Callback`, Baselines' `callback(locals, globals)`, or a list of them.
        compile_ahead: functions that compile what the iterations call. They run while the first segment is collected.
        whole_episodes: every segment starts with new episodes and ends with complete ones (see `Collector`).
        bootstrap_time_limits: bootstrap the value of the last observation when a time limit truncates an episode.
        env_threads: threads that step this rank's environments.
        logger: rank 0's logger; None for no log.
        folder: the run directory; None for no checkpoints.
        heartbeat: this rank's heartbeat; None for none.
        checkpoint_every: iterations between checkpoints. Each checkpoint truncates all running episodes and resets
            every environment with a new seed, so that a resumed run and an uninterrupted one continue from the same
            state.

    Attributes:
        timesteps_so_far, episodes_so_far, iters_so_far: summed over ranks.
        rewbuffer, lenbuffer: returns and lengths of the last 100 episodes of all ranks.
        seg: the last segment; None before the first iteration.
        stop_requested: why the training stops: a signal's number, "callback", or None.
    """

    def __init__(
        self,
        env: Any,
        pi: Policy,
        oldpi: Policy,
        *,
        horizon: int,
        limits: StopCriteria,
        seed: int,
        comm: Communicator,
        checkpointables: Mapping[str, Checkpointable],
        callback: Callbacks = None,
        compile_ahead: Sequence[Callable[[], None]] = (),
        whole_episodes: bool = False,
        bootstrap_time_limits: bool = True,
        env_threads: int = 1,
        logger: Logger | None = None,
        folder: RunDirectory | None = None,
        heartbeat: Heartbeat | None = None,
        checkpoint_every: int = 25,
    ) -> None:
        if checkpoint_every < 1:
            raise UserError(f"invalid checkpoint_every={checkpoint_every}: must be at least 1 iteration")
        self.pi, self.oldpi = pi, oldpi
        self.limits = limits
        self.seed = seed
        self.comm = comm
        self.checkpointables = checkpointables
        self.callbacks: list[Callback] = as_callbacks(callback)
        self.logger = logger
        self.compile_ahead = compile_ahead
        self.folder = folder
        self.checkpoint_every = checkpoint_every
        self.heartbeat = heartbeat or Heartbeat(comm)
        self.collector = Collector(
            env,
            pi,
            horizon,
            whole_episodes=whole_episodes,
            bootstrap_time_limits=bootstrap_time_limits,
            threads=env_threads,
            heartbeat=self.heartbeat,
        )
        self.timesteps_so_far = self.episodes_so_far = self.iters_so_far = 0
        self.rewbuffer: deque[float] = deque(maxlen=100)
        self.lenbuffer: deque[int] = deque(maxlen=100)
        self.tstart, self.elapsed_before, self.synced_elapsed = time.time(), 0.0, 0.0
        self.seg: Segment | None = None
        self.averaging_by_group: Mapping[str, str] = {}  # set by the algorithm's set-up, for config.json
        self.stop_requested: Any = None
        self.current_segment: Mapping[str, Any] = {}  # of the running iteration, for the crash dump
        self.exit_stack = contextlib.ExitStack()
        self.is_between_iterations = False  # the state is that which the last iteration left
        self.last_checkpoint_iter: int | None = None

    def __enter__(self) -> TrainingLoop:
        self.comm.exit_reason = None
        if self.folder is None:
            stacks.enable()
        else:
            self.exit_stack.callback(stacks.push_target(self.comm, self.folder.path / "ranks"))
        for callback in self.callbacks:
            self.exit_stack.callback(callback.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close callbacks; add the iteration to an error; write a crash dump for a non-finite number."""
        try:
            self.exit_stack.close()
        except Exception:
            if error is None:  # otherwise it would hide the error that ends the training
                raise
        if error is not None:
            self.comm.exit_reason = f"{type(error).__name__}: {error}"
        if isinstance(error, (EnvError, NonFiniteError)):
            error.add_context(iteration=self.iters_so_far)
        if isinstance(error, NonFiniteError) and self.folder is not None:
            if self.comm.rank == 0 or not error.on_all_ranks:
                error.add_context(dump_path=dump_crash(self, error))
            if error.on_all_ranks:
                self.comm.barrier()  # the first rank that fails would abort the job before rank 0 has written the dump
                error.add_context(dump_path=self.comm.broadcast(error.dump_path))

    @property
    def elapsed(self) -> float:
        """Seconds of training, summed over all resumes."""
        return self.elapsed_before + time.time() - self.tstart

    @property
    def progress(self) -> float:
        """Fraction of the training that is done, from 0 to 1. Equal on all ranks: time is rank 0's."""
        done = self.limits.progress(self.timesteps_so_far, self.episodes_so_far, self.iters_so_far, self.synced_elapsed)
        return min(done, 1.0)

    def request_stop(self, reason: Any) -> None:
        """Stop on all ranks after the current iteration and its checkpoint. Safe in a signal handler."""
        self.stop_requested = reason

    def iterations(self) -> Iterator[int]:
        """Yield the number of each iteration until a stop criterion, a callback or a signal stops the training."""
        self.synced_elapsed = self.elapsed
        self.heartbeat.set_phase("callbacks", self.iters_so_far)
        for callback in self.callbacks:
            callback.on_training_start(self)
        self._reset_envs()
        while self._should_continue():
            yield self.iters_so_far
        if self.folder is not None and self.iters_so_far and self.iters_so_far % self.checkpoint_every:
            save_checkpoint(self, forced=True)
        self.heartbeat.set_phase("callbacks", self.iters_so_far)
        for callback in self.callbacks:
            callback.on_training_end(self)

    def _should_continue(self) -> bool:
        """Agree with all ranks on whether there is another iteration. No other place decides this."""
        self.heartbeat.set_phase("callbacks", self.iters_so_far)
        self._run_callbacks(callback.before_iteration for callback in self.callbacks)
        votes = self.comm.gather((self.stop_requested, self.elapsed))
        self.synced_elapsed = votes[0][1]
        agreed = next((vote for vote, _ in votes if vote), None)
        should_continue = agreed is None and self.progress < 1
        if not should_continue:  # otherwise a signal that came after this rank's vote counts in the next one
            self.stop_requested = agreed
        return should_continue

    def _run_callbacks(self, methods: Iterable[Callable[..., Any]], *args: Any) -> None:
        """Call a method of every callback; if one wants to stop, this rank votes for it."""
        if wants_to_stop([functools.partial(method, self, *args) for method in methods]):
            self.stop_requested = self.stop_requested or "callback"

    def collect(self) -> Segment:
        """Return this rank's next segment (see `Collector.collect`), collected with the current pi."""
        rng = seeding.generator(self.seed, seeding.ACTIONS, self.comm.rank, self.iters_so_far)
        self.heartbeat.set_phase("collect", self.iters_so_far)
        if self.collector.whole_episodes:
            self._reset_envs()
        seg = self._collect(rng)
        self.heartbeat.set_phase("update", self.iters_so_far)
        self.is_between_iterations = False
        # before the update: it broadcasts rank 0's parameters and would hide that another rank acted with different
        # ones
        self.check_synced()
        return seg

    def _collect(self, rng: np.random.Generator) -> Segment:
        if not self.compile_ahead:
            self.current_segment = seg = self.collector.collect(rng)
            return seg
        # XLA releases Python's lock, and uses cores that would be idle. One thread: TensorFlow numbers functions in the
        # order in which they are traced, and the cache finds a compiled one by its number, too.
        functions, self.compile_ahead = self.compile_ahead, ()
        pool = NamedThreadPool(["compilation"])
        compilation = pool.submit_all([lambda: [compile_one() for compile_one in functions]])
        seg = self.collector.collect(rng)
        self.heartbeat.set_phase("compile", self.iters_so_far)
        pool.gather(compilation)
        compilation_cache.seal()
        self.current_segment = seg
        return seg

    def minibatch_rng(self) -> np.random.Generator:
        """Return the generator that shuffles this iteration's minibatches on this rank."""
        return seeding.generator(self.seed, seeding.MINIBATCHES, self.comm.rank, self.iters_so_far)

    def end_iteration(self, seg: Segment, metrics: Mapping[str, float]) -> None:
        """End an iteration: observation statistics, counters, the log's row, callbacks, and a checkpoint if one is due.

        Args:
            seg: the segment, with `vpred` and `tdlamret`.
            metrics: {column: number} of the algorithm, equal on all ranks.

        Raises:
            NonFiniteError: on all ranks, for a metric, parameter or statistic that is not finite. Nothing of this
                iteration has been logged or saved then.
        """
        if bad := [name for name, value in metrics.items() if not np.isfinite(value)]:
            raise NonFiniteError(f"{bad[0]} is {metrics[bad[0]]} after the last minibatch")
        self.heartbeat.set_phase("statistics", self.iters_so_far)
        if self.pi.ob_rms is not None:  # only now: the policy that is optimised must be the one that acted
            self.pi.ob_rms.update(self.pi.normalised_part(seg["ob"][seg["valid"]]))
        self.check_synced()
        checkpoint_due = self.folder is not None and (self.iters_so_far + 1) % self.checkpoint_every == 0
        check_state_finite(self.pi, self.checkpointables, self.iters_so_far, everything=checkpoint_due)
        by_rank = self.comm.gather(segment_statistics(seg))
        for rank in by_rank:
            self.rewbuffer.extend(rank.ep_rets)
            self.lenbuffer.extend(rank.ep_lens)
            self.episodes_so_far += len(rank.ep_rets)
            self.timesteps_so_far += rank.steps
        self.iters_so_far += 1
        self.is_between_iterations = True
        self.seg = drop_env_axis(seg) if self.collector.adapter.squeeze else seg
        stats = log_row(self, by_rank, metrics)
        if self.folder is not None:
            with raises_write_error(self.folder.path):
                self.folder.verify_ownership()  # the row would be lost in a removed directory, or go into another run's
        if self.logger is not None:
            self.logger.write(stats, self.timesteps_so_far)
        self.heartbeat.set_phase("callbacks", self.iters_so_far)
        self._run_callbacks((callback.after_iteration for callback in self.callbacks), stats)
        if checkpoint_due:
            save_checkpoint(self)
            self._reset_envs()

    def check_synced(self) -> None:
        """Raise ReplicaDivergenceError on all ranks unless all have equal states. Free of cost on a single rank."""
        check_synced(self.comm, lambda: state_arrays(self.pi, self.checkpointables))

    def _reset_envs(self) -> None:
        """Reset every environment with seeds that depend on the iteration."""
        seeds = seeding.environment_seeds(self.seed, self.comm.rank, self.collector.num_envs, self.iters_so_far)
        self.collector.reset(seeds)

    def rescue(self) -> Path | None:
        """After a failure, save what the last iteration left (see `rescue_state`)."""
        return rescue_state(self)

    def restore(self, checkpoint: tuple[dict[str, np.ndarray], dict[str, Any], Path]) -> None:
        """Resume from a checkpoint (see `restore_state`)."""
        restore_state(self, checkpoint)
