"""The loop that every algorithm shares: limits, callbacks, statistics, logs, checkpoints and resume. It knows no loss.

An algorithm writes its own steps between `collect` and `finish`:

    with training:
        for iteration in training.iterations():
            seg = training.collect()
            ...
            training.finish(seg, {"loss_...": ...})
"""

import contextlib
import functools
import time
from collections import deque

import numpy as np

from common import seeding
from common.diagnostics.crash_dump import write_crash_dump
from common.diagnostics.nonfinite import first_nonfinite_array
from common.diagnostics.replica_check import check_synced
from common.distributed.heartbeat import Heartbeat
from common.errors import EnvError, NonFiniteError, UserError
from common.rollouts.advantages import explained_variance
from common.rollouts.collector import Collector
from common.rollouts.segment import drop_env_axis
from common.running_mean_std import RunningMeanStd
from common.runtime.crash_stacks import stacks
from common.runtime.thread_pool import NamedThreadPool
from common.storage.write_errors import raises_write_error
from common.training.callbacks import as_callbacks, wants_to_stop
from common.training.state import episode_buffer_arrays, restore_arrays, state_arrays


class TrainingLoop:
    """One run of one algorithm on all ranks.

    Args:
        env: an `Env` or `VectorEnv`, this rank's.
        pi, oldpi: the policies.
        horizon: steps of a segment of this rank.
        limits: a checked `StopCriteria`.
        seed: the run's seed, the same on all ranks.
        comm: the ranks.
        parts: {name: object with `state()` and `restore(state)`}: what else a checkpoint must hold.
        callback: a `Callback`, Baselines' `callback(locals, globals)`, or a list of them (`common.training.callbacks`).
        compile_ahead: functions () -> None that compile what the iterations will call; they run beside the first segment's collection.
        whole_episodes: every segment starts with new episodes and ends with whole ones (`Collector`).
        bootstrap_time_limits: what a time limit cuts off is worth V of the last observation, rather than nothing (`Collector`).
        env_threads: threads that step this rank's environments (`Collector`).
        logger: rank 0's `Logger`, or None.
        folder: a `RunDirectory`, or None for no checkpoints.
        heartbeat: this rank's `Heartbeat`, or None.
        checkpoint_every: iterations between checkpoints. At each, every environment is cut and reset with a seed of its own,
            so that a resumed run and an undisturbed one go on from the same place.

    Attributes:
        timesteps_so_far, episodes_so_far, iters_so_far: over all ranks.
        rewbuffer, lenbuffer: returns and lengths of the last 100 episodes of all ranks.
        progress: how much of the run is done, 0 to 1.
    """

    def __init__(
        self,
        env,
        pi,
        oldpi,
        *,
        horizon,
        limits,
        seed,
        comm,
        parts,
        callback=None,
        compile_ahead=(),
        whole_episodes=False,
        bootstrap_time_limits=True,
        env_threads=1,
        logger=None,
        folder=None,
        heartbeat=None,
        checkpoint_every=25,
    ):
        if checkpoint_every < 1:
            raise UserError(f"checkpoint_every={checkpoint_every}; give at least 1 iteration")
        self.pi, self.oldpi, self.limits, self.seed, self.comm = pi, oldpi, limits, seed, comm
        self.parts, self.callbacks, self.logger = parts, as_callbacks(callback), logger
        self.compile_ahead, self.folder, self.checkpoint_every = compile_ahead, folder, checkpoint_every
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
        self.rewbuffer, self.lenbuffer = deque(maxlen=100), deque(maxlen=100)
        self.tstart, self.elapsed_before = time.time(), 0.0
        self.seg, self.stop_requested = None, None
        self.under_way, self.opened = (
            {},
            contextlib.ExitStack(),
        )  # the iteration's segment, for a post-mortem; what ends with the training
        self.whole, self.saved = (
            False,
            None,
        )  # whether all stands as an iteration has left it; the iterations that the newest checkpoint has

    def __enter__(self):
        self.comm.exit_reason = None
        if self.folder is None:
            stacks.enable()
        else:
            self.opened.callback(stacks.push_target(self.comm, self.folder.path / "ranks"))
        return self

    def __exit__(self, kind, error, trace):
        """Let what goes wrong say in which iteration; of a number that is not finite, leave a post-mortem."""
        self.opened.close()
        if error is not None:
            self.comm.exit_reason = f"{kind.__name__}: {error}"
        if isinstance(error, (EnvError, NonFiniteError)):
            error.add_context(iteration=self.iters_so_far)
        if isinstance(error, NonFiniteError) and self.folder is not None:
            if self.comm.rank == 0 or not error.on_all_ranks:
                error.add_context(dump_path=self._post_mortem(error))
            if error.on_all_ranks:
                self.comm.barrier()  # a rank that is first to give up would end the job before rank 0 has written
                error.add_context(dump_path=self.comm.broadcast(error.dump_path))

    def _post_mortem(self, error):
        """Write it; returns where it is, in words."""
        then = {f"{name}/{key}": x for name, part in self._state_parts() for key, x in part.state().items()}
        pi, seg = (
            (self.oldpi, self.under_way) if error.on_all_ranks else (self.pi, {})
        )  # else it happened to this rank while it acted
        try:
            return write_crash_dump(
                self.folder.path, error.iteration, error, pi.state(), then, seg, self.pi.description(), self.comm.rank
            )
        except Exception as failure:  # which must not hide what it is about
            return f"no post-mortem could be written ({type(failure).__name__}: {failure})"

    def _state_parts(self):
        return {"pi": self.pi, **self.parts}.items()

    @property
    def elapsed(self):
        """Seconds of training, over all resumes."""
        return self.elapsed_before + time.time() - self.tstart

    @property
    def progress(self):
        """How much of the run is done, from 0 to 1, by what all ranks agree on: never by this rank's own clock."""
        return min(
            self.limits.progress(self.timesteps_so_far, self.episodes_so_far, self.iters_so_far, self.synced_elapsed),
            1.0,
        )

    def request_stop(self, reason):
        """Finish the iteration under way on all ranks, write a checkpoint and end; safe in a signal handler."""
        self.stop_requested = reason

    def iterations(self):
        """Yields the number of each iteration, from where the run stands, until a limit, a callback or a signal ends it."""
        self.synced_elapsed = self.elapsed
        self._reset_envs()
        while self._should_continue():
            yield self.iters_so_far
        if self.folder is not None and self.iters_so_far and self.iters_so_far % self.checkpoint_every:
            self._checkpoint(forced=True)

    def _should_continue(self):
        """Whether all ranks run another iteration: the one place where they agree on it."""
        self.heartbeat.set_phase("callbacks", self.iters_so_far)
        self._run_callbacks(callback.before_iteration for callback in self.callbacks)
        votes = self.comm.gather((self.stop_requested, self.elapsed))
        self.synced_elapsed = votes[0][1]
        agreed = next((vote for vote, _ in votes if vote), None)
        goes_on = agreed is None and self.progress < 1
        if not goes_on:  # else a signal that has come since this rank voted is for the next time
            self.stop_requested = agreed
        return goes_on

    def _run_callbacks(self, methods, *args):
        """Call all callbacks; if one wants to stop, this rank votes for it."""
        if wants_to_stop([functools.partial(method, self, *args) for method in methods]):
            self.stop_requested = self.stop_requested or "callback"

    def collect(self):
        """This rank's next segment (`Collector.collect`), acted by pi as it stands."""
        rng = seeding.generator(self.seed, seeding.ACTIONS, self.comm.rank, self.iters_so_far)
        self.heartbeat.set_phase("collect", self.iters_so_far)
        if self.collector.whole_episodes:
            self._reset_envs()
        seg = self._collect(rng)
        self.heartbeat.set_phase("update", self.iters_so_far)
        self.whole = False
        self.check_synced()  # before an update in which rank 0 gives all ranks its parameters, and nobody would ever know who acted by others
        return seg

    def _collect(self, rng):
        if not self.compile_ahead:
            self.under_way = self.collector.collect(rng)
            return self.under_way
        compiling = NamedThreadPool(
            [f"compilation {i}" for i in range(len(self.compile_ahead))]
        )  # XLA does without Python's lock, on cores that would idle
        under_way, self.compile_ahead = compiling.submit_all(self.compile_ahead), ()
        seg = self.collector.collect(rng)
        self.heartbeat.set_phase("compile", self.iters_so_far)
        compiling.gather(under_way)
        self.under_way = seg
        return seg

    def minibatch_rng(self):
        """The generator that shuffles this iteration's minibatches on this rank."""
        return seeding.generator(self.seed, seeding.MINIBATCHES, self.comm.rank, self.iters_so_far)

    def finish(self, seg, terms):
        """End an iteration: statistics over ranks, the observation filter, a row of the log, and a checkpoint if it is due.

        Args:
            seg: the segment, with `vpred` and `tdlamret`.
            terms: {name: number}, what the algorithm has to say, the same on all ranks.

        Raises:
            NotFinite: on all ranks, for a term, a parameter or a statistic that is not finite; nothing of it has been logged or saved.
        """
        if bad := [name for name, value in terms.items() if not np.isfinite(value)]:
            raise NonFiniteError(f"{bad[0]} is {terms[bad[0]]} after the last minibatch")
        self.heartbeat.set_phase("statistics", self.iters_so_far)
        valid = seg["valid"]
        if self.pi.ob_rms is not None:
            self.pi.ob_rms.update(
                seg["ob"][valid]
            )  # only now: the policy that acted must be the one that was optimised
        self.check_synced()
        self.check_finite(
            self.iters_so_far,
            everything=self.folder is not None and (self.iters_so_far + 1) % self.checkpoint_every == 0,
        )
        own = (
            seg["ep_rets"],
            seg["ep_lens"],
            seg["steps"],
            explained_variance(seg["vpred"][valid], seg["tdlamret"][valid]),
        )
        everyone = self.comm.gather(own)
        for ep_rets, ep_lens, steps, _ in everyone:
            self.rewbuffer.extend(ep_rets)
            self.lenbuffer.extend(ep_lens)
            self.episodes_so_far += len(ep_rets)
            self.timesteps_so_far += steps
        self.iters_so_far += 1
        self.whole = True
        self.seg = drop_env_axis(seg) if self.collector.adapter.squeeze else seg
        stats = {
            "EpLenMean": float(np.mean(self.lenbuffer)) if self.lenbuffer else float("nan"),
            "EpRewMean": float(np.mean(self.rewbuffer)) if self.rewbuffer else float("nan"),
            "EpThisIter": sum(len(rank[0]) for rank in everyone),
            "EpisodesSoFar": self.episodes_so_far,
            "TimestepsSoFar": self.timesteps_so_far,
            "TimeElapsed": self.elapsed,
            "ev_tdlam_before": float(np.mean([rank[3] for rank in everyone])),
            **{name: float(value) for name, value in terms.items()},
        }
        if self.folder is not None:
            with raises_write_error(self.folder.path):
                self.folder.verify_ownership()  # a row would go into a folder that has been removed, and be lost, or beside another run's
        if self.logger is not None:
            self.logger.write(stats, self.timesteps_so_far)
        self.heartbeat.set_phase("callbacks", self.iters_so_far)
        self._run_callbacks((callback.after_iteration for callback in self.callbacks), stats)
        if self.folder is not None and self.iters_so_far % self.checkpoint_every == 0:
            self._checkpoint()
            self._reset_envs()

    def check_finite(self, iteration, everything):
        """Raises NotFinite for statistics of `iteration` that are not finite, as those of huge numbers are; with `everything`, before a checkpoint, also
        for any other part of one. The same on all ranks, whose state is the same."""
        parts = (
            self._state_parts()
            if everything
            else [
                (name, part)
                for name, part in (("pi/ob_rms", self.pi.ob_rms), *self.parts.items())
                if isinstance(getattr(part, "rms", part), RunningMeanStd)
            ]
        )
        if bad := next(filter(None, (first_nonfinite_array(part.state(), name) for name, part in parts)), None):
            raise NonFiniteError(
                f"{bad} at the end", "bring observations and rewards to the order of 1, or take a smaller step size"
            ).add_context(iteration=iteration)

    def check_synced(self):
        """Raises RanksDrifted, on all ranks, unless all hold the same state. A rank alone is not looked at, and loses no time."""
        check_synced(self.comm, self._arrays)

    # ---- checkpoints

    def _reset_envs(self):
        """Reset every environment with seeds that the iteration decides."""
        self.collector.reset(
            seeding.environment_seeds(self.seed, self.comm.rank, self.collector.num_envs, self.iters_so_far)
        )

    def _checkpoint(self, forced=False):
        self.check_synced()  # first, so that all ranks find the same below: a callback may have changed what it likes since the end of the iteration
        self.check_finite(self.iters_so_far - 1, everything=True)
        self.heartbeat.set_phase("checkpoint", self.iters_so_far)
        if self.logger is not None:
            self.logger.flush()
        logs = self.comm.gather(self.folder.log_sizes(self.comm.rank))
        if self.comm.rank != 0:
            return
        arrays = self._arrays() | episode_buffer_arrays(self.rewbuffer, self.lenbuffer)
        counters = {
            name: getattr(self, name)
            for name in ("timesteps_so_far", "episodes_so_far", "iters_so_far", "elapsed", "seed")
        }
        self.folder.checkpoints.save(
            self.iters_so_far, arrays, {"counters": counters, "logs": logs, "policy": self.pi.description()}, forced
        )
        self.saved = self.iters_so_far

    def rescue(self):
        """When something has gone wrong: write what the last iteration has left, if it is still whole and in no checkpoint yet.

        Returns:
            The checkpoint's path; None if there is none. On several ranks there never is, for the others may not have come here.
        """
        if self.folder is None or self.comm.size > 1 or not self.whole or self.saved == self.iters_so_far:
            return None
        try:
            self._checkpoint(forced=True)
        except Exception:  # which must not hide what has gone wrong
            return None
        return self.folder.checkpoints.paths()[0]

    def _arrays(self):
        return state_arrays(self.pi, self.parts)

    def restore(self, checkpoint):
        """Go on from `RunDirectory.latest_checkpoint`'s (arrays, metadata, path), the same on all ranks.

        Raises:
            UserError: if it is another run's.
        """
        arrays, metadata, path = checkpoint
        restore_arrays(path, arrays, self.pi, self.parts)
        self.rewbuffer.extend(arrays["rewbuffer"].tolist())
        self.lenbuffer.extend(arrays["lenbuffer"].tolist())
        counters = metadata["counters"]
        self.timesteps_so_far, self.episodes_so_far = counters["timesteps_so_far"], counters["episodes_so_far"]
        self.iters_so_far, self.elapsed_before = counters["iters_so_far"], counters["elapsed"]
