"""Evaluation while training, and the best policy so far: callbacks of the command line's runs."""

import contextlib
import math
from pathlib import Path

from baselines_ppo.config.settings import ALGORITHMS
from common.diagnostics.nonfinite import first_nonfinite_array
from common.errors import EnvError, UserError
from common.policies.files import BEST, read_best
from common.rollouts.evaluation import evaluate
from common.seeding import EVALUATION, generator
from common.storage.write_errors import raises_write_error
from common.training.callbacks import Callback
from common.validation import check_float


class Best:
    """The best policy so far, `best/policy.safetensors` in a run's folder, written by rank 0.

    Args:
        folder: the run's.
        by: what its scores are; a best of another kind does not count.
        extra: what the file's metadata says beside the policy.

    Attributes:
        score: the best so far, over all resumes.

    Raises:
        UserError: as `read_best`.
    """

    def __init__(self, folder, by, **extra):
        self.path, self.extra, self.score = Path(folder) / BEST, extra | {"by": by}, -math.inf
        metadata = read_best(folder) or {}
        if metadata.get("by") == by:
            with contextlib.suppress(UserError):  # no score that could be one's: the next one takes its place
                self.score = check_float("score", metadata.get("score"))

    def offer(self, training, score):
        """Keep pi, if no better one was offered before, and all its numbers are finite: else the run is about to end."""
        if not score > self.score or first_nonfinite_array(training.pi.state(), "pi"):
            return
        self.score = score
        with raises_write_error(self.path):
            if training.folder is not None:
                training.folder.verify_ownership()
            self.path.parent.mkdir(exist_ok=True)
        training.pi.save(self.path, score=score, timesteps=training.timesteps_so_far, **self.extra)


class SaveBestCallback(Callback):
    """Keeps the policy with the highest EpRewMean, looked at whenever a checkpoint is written, and at the end.

    Args:
        best: a `Best`.
    """

    def __init__(self, best):
        self.best = best

    def after_iteration(self, training, stats):
        """Offer the policy, if a checkpoint is due."""
        if training.comm.rank == 0 and training.iters_so_far % training.checkpoint_every == 0:
            self.best.offer(training, stats["EpRewMean"])

    def at_end(self, training):
        """Offer the final policy."""
        if training.rewbuffer:
            self.best.offer(training, sum(training.rewbuffer) / len(training.rewbuffer))


class EvalCallback(Callback):
    """Deterministic episodes on an environment of their own, every so many iterations and at the end: on rank 0, while the others sleep.

    What they are is decided by the run's seed alone, the same start states every time, so that scores compare; training's own randomness is not
    touched, so that a run with evaluations is the run without, to the bit.

    Args:
        make_env: function () -> environment with its own rewards; called on rank 0 only.
        every: iterations.
        episodes: of one evaluation.
        make_logger: function () -> logger, which takes a row of each; `timesteps` are training's.
        best: a `Best`.
    """

    def __init__(self, make_env, every, episodes, make_logger, best):
        self.make_env, self.every, self.episodes, self.make_logger, self.best = (
            make_env,
            every,
            episodes,
            make_logger,
            best,
        )
        self.env = self.logger = None

    def after_iteration(self, training, stats):
        """Evaluate, if it is time."""
        if training.comm.rank == 0 and training.iters_so_far % self.every == 0:
            self._evaluate(training)
            self.logger.flush()  # before the checkpoint takes note of how long the files are

    def at_end(self, training):
        """Evaluate the final policy, unless that has been done, or a signal has ended the run, which leaves no time for it.

        No checkpoint knows of this row: a run that goes on cuts it off, as one would not have it that had gone on at once.
        """
        if training.iters_so_far % self.every and not isinstance(training.stop_requested, int):
            self._evaluate(training)
            self.close()

    def _evaluate(self, training):
        if self.env is None:
            self.env, self.logger = self.make_env(), self.make_logger()
        seed = int(generator(training.seed, EVALUATION).integers(2**31))
        try:
            returns, lengths = evaluate(
                training.pi, self.env, self.episodes, stochastic=False, seed=seed, heartbeat=training.heartbeat
            )
        except EnvError as fault:
            fault.add_context(source="the environment of --eval-every")
            raise
        self.logger.write(
            {
                "TimestepsSoFar": training.timesteps_so_far,
                "Iteration": training.iters_so_far,
                "Episodes": self.episodes,
                "EvalRewMean": float(returns.mean()),
                "EvalRewStd": float(returns.std()),
                "EvalRewMin": float(returns.min()),
                "EvalRewMax": float(returns.max()),
                "EvalLenMean": float(lengths.mean()),
            },
            training.timesteps_so_far,
        )
        self.best.offer(training, float(returns.mean()))

    def close(self):
        """Close the environment and the log."""
        if self.env is not None:
            self.env.close()
            self.logger.close()
        self.env = self.logger = None


def interval_warnings(settings, ranks):
    """Lines on what a run on so many ranks will be over before: its first evaluation, its first histograms."""
    steps = settings[ALGORITHMS[settings["alg"]].counts()[0]] * ranks
    iterations = settings["max_iters"] or -(-(settings["num_timesteps"] or 0) // steps)
    dues = (
        ("eval_every", settings["eval_every"], "only its final policy is evaluated"),
        ("checkpoint_every", settings["checkpoint_every"] if settings["histograms"] else 0, "--histograms writes none"),
    )
    return [
        f"--{name.replace('_', '-')} {every:,} iterations: the run is over after about {iterations:,}, so {left}"
        for name, every, left in dues
        if every > iterations > 0
    ]
