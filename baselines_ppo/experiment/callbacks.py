"""Callbacks of a run with outputs: evaluation during training, the best policy so far, and histograms."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from common.diagnostics.nonfinite import first_nonfinite_array
from common.errors import EnvError, UserError
from common.policies.files import BEST, read_best
from common.rollouts.evaluation import evaluate
from common.seeding import EVALUATION, generator
from common.storage.write_errors import raises_write_error
from common.training.callbacks import Callback
from common.validation import check_float
from common.vec_env.action_masks import with_masks_for

if TYPE_CHECKING:
    from common.loggers.logger import Logger
    from common.loggers.tensorboard import TensorBoardOutput
    from common.policies.base import Policy
    from common.training.loop import TrainingLoop


class BestPolicy:
    """The best policy so far, `best/policy.safetensors` in the run directory. Rank 0 writes it.

    Args:
        folder: the run directory.
        by: what its scores measure. A stored best policy with another measure is replaced.
        extra: additional metadata of the file.

    Attributes:
        score: the best one so far, over all resumes.

    Raises:
        UserError: as `read_best`.
    """

    def __init__(self, folder: str | os.PathLike[str], by: str, **extra: Any) -> None:
        self.path = Path(folder) / BEST
        self.extra = extra | {"by": by}
        self.score = -math.inf
        metadata = read_best(folder) or {}
        if metadata.get("by") == by:
            with contextlib.suppress(UserError):  # an invalid score: the next policy replaces this one
                self.score = check_float("score", metadata.get("score"))

    def save_if_better(self, training: TrainingLoop, score: float) -> None:
        """Save pi if its score is the highest so far. A pi with a non-finite number is not saved: the run will fail."""
        if not score > self.score or first_nonfinite_array(training.pi.state(), "pi"):
            return
        self.score = score
        with raises_write_error(self.path):
            if training.folder is not None:
                training.folder.verify_ownership()
            self.path.parent.mkdir(exist_ok=True)
        training.pi.save(self.path, score=score, timesteps=training.timesteps_so_far, **self.extra)


class SavePolicyCallback(Callback):
    """Saves the final policy. It precedes callbacks that evaluate it, because an evaluation may fail.

    Args:
        save: function that writes a policy.
    """

    def __init__(self, save: Callable[[Policy], None]) -> None:
        self.save = save

    def on_training_end(self, training: TrainingLoop) -> None:
        """Save pi, on rank 0."""
        if training.comm.rank == 0:
            self.save(training.pi)


class SaveBestCallback(Callback):
    """Saves the policy with the highest EpRewMean. It is compared at every checkpoint, and at the end.

    Args:
        best: the best policy so far.
    """

    def __init__(self, best: BestPolicy) -> None:
        self.best = best

    def after_iteration(self, training: TrainingLoop, stats: Mapping[str, float]) -> None:
        """Compare the policy, if a checkpoint is due."""
        if training.comm.rank == 0 and training.iters_so_far % training.checkpoint_every == 0:
            self.best.save_if_better(training, stats["EpRewMean"])

    def on_training_end(self, training: TrainingLoop) -> None:
        """Compare the final policy."""
        if training.comm.rank == 0 and training.rewbuffer:
            self.best.save_if_better(training, sum(training.rewbuffer) / len(training.rewbuffer))


class EvalCallback(Callback):
    """Runs deterministic episodes on a separate environment, every `every` iterations and at the end, on rank 0.

    The seed of the run alone decides them: every evaluation has the same initial states, so that scores are comparable.
    The training's random generators are not used: a run with evaluations is bit-identical to one without.

    Args:
        make_env: function that makes the environment, with its own rewards. Called on rank 0 only.
        every: iterations between evaluations.
        episodes: of one evaluation.
        make_logger: function that makes the logger of the evaluations' rows.
        best: the best policy so far.
    """

    def __init__(
        self,
        make_env: Callable[[], gym.Env],
        every: int,
        episodes: int,
        make_logger: Callable[[], Logger],
        best: BestPolicy,
    ) -> None:
        self.make_env = make_env
        self.every = every
        self.episodes = episodes
        self.make_logger = make_logger
        self.best = best
        self.env: gym.Env | None = None
        self.logger: Logger | None = None

    def after_iteration(self, training: TrainingLoop, stats: Mapping[str, float]) -> None:
        """Evaluate, if an evaluation is due."""
        if training.comm.rank == 0 and training.iters_so_far % self.every == 0:
            self._evaluate(training).flush()  # before the checkpoint records the sizes of the files

    def on_training_end(self, training: TrainingLoop) -> None:
        """Evaluate the final policy, unless that is done, or a signal ended the run, which leaves no time for it.

        No checkpoint records this row. A resumed run truncates it, because an uninterrupted run would not have it.
        """
        is_due = training.iters_so_far % self.every and not isinstance(training.stop_requested, int)
        if training.comm.rank == 0 and is_due:
            self._evaluate(training)

    def _evaluate(self, training: TrainingLoop) -> Logger:
        if self.env is None or self.logger is None:
            env = self.make_env()
            self.env, self.logger = with_masks_for(training.pi, env), self.make_logger()
        seed = int(generator(training.seed, EVALUATION).integers(2**31))
        try:
            returns, lengths = evaluate(
                training.pi, self.env, self.episodes, stochastic=False, seed=seed, heartbeat=training.heartbeat
            )
        except EnvError as error:
            error.add_context(source="the environment of --eval-every")
            raise
        row = {
            "TimestepsSoFar": training.timesteps_so_far,
            "Iteration": training.iters_so_far,
            "Episodes": self.episodes,
            "EvalRewMean": float(returns.mean()),
            "EvalRewStd": float(returns.std()),
            "EvalRewMin": float(returns.min()),
            "EvalRewMax": float(returns.max()),
            "EvalLenMean": float(lengths.mean()),
        }
        self.logger.write(row, training.timesteps_so_far)
        self.best.save_if_better(training, float(returns.mean()))
        return self.logger

    def close(self) -> None:
        """Close the environment and the log."""
        if self.env is not None:
            self.env.close()
        if self.logger is not None:
            self.logger.close()
        self.env = self.logger = None


class HistogramCallback(Callback):
    """Writes TensorBoard histograms of weights, actions and advantages at every checkpoint.

    Args:
        tensorboard: where they go.
    """

    def __init__(self, tensorboard: TensorBoardOutput) -> None:
        self.tensorboard = tensorboard

    def after_iteration(self, training: TrainingLoop, stats: Mapping[str, float]) -> None:
        """Write the histograms, if a checkpoint is due."""
        if training.iters_so_far % training.checkpoint_every:
            return
        arrays = {f"weights/{v.name.split(':')[0]}": v.numpy() for v in training.pi.get_variables()}
        seg: Any = training.seg
        valid = np.asarray(seg["valid"], bool)
        arrays |= {"segment/actions": seg["ac"][valid], "segment/advantages": seg["adv"][valid]}
        for name, values in arrays.items():
            self.tensorboard.histogram(name, np.asarray(values, np.float32), training.timesteps_so_far)
