"""Options that `learn` of each algorithm accepts in addition to the algorithm's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from baselines_ppo.config.combinations import TWO_STARTS
from baselines_ppo.config.run_settings import RunSettings
from common.demonstrations.data import Demonstrations
from common.demonstrations.files import source_name
from common.distributed.communicator import Communicator
from common.errors import UserError
from common.formatting import safe_repr
from common.storage.paths import user_path
from common.validation import check_bool, check_choice, check_greater, check_int_argument

if TYPE_CHECKING:
    import os

    from common.distributed.heartbeat import Heartbeat
    from common.loggers.logger import Logger
    from common.runs.run_directory import RunDirectory

AVERAGING = ("auto", "gather", "average")


@dataclass
class RunOptions:
    """Options of one call of `learn`.

    Attributes:
        comm: the ranks; None: all of the job.
        averaging: 'gather' or 'average' (`common.optim.minibatch_optimizer`), or 'auto': by ranks, batch and network.
        logger: rank 0's `Logger`.
        folder: a `RunDirectory` for checkpoints.
        checkpoint: (arrays, metadata, path) to resume from (`RunDirectory.latest_checkpoint`).
        checkpoint_every: iterations between checkpoints.
        load_path: a trained policy to start from if there is no checkpoint (`warm_start`).
        demonstrations: what to clone if there is no checkpoint: a .npz file, `minari:` and the id of a data set, or
            `Demonstrations`. Rank 0's value is used.
        demonstration_epochs: largest number of epochs over the demonstrations.
        demonstration_stepsize: learning rate of Adam in these epochs.
        env_threads: threads that step this rank's environments (`Collector`).
        heartbeat: this rank's `Heartbeat`.
        run_dir: directory for the run's files, which plot, report and load_policy read (`recording`). Rank 0's value is
            used.
        progress: show a live display, or progress lines without a terminal. Rank 0's value is used.
    """

    comm: Communicator | None = None
    averaging: str = "auto"
    logger: Logger | None = None
    folder: RunDirectory | None = None
    checkpoint: tuple[Any, ...] | None = None
    checkpoint_every: int = 25
    load_path: str | os.PathLike[str] | None = None
    demonstrations: str | os.PathLike[str] | Demonstrations | None = None
    demonstration_epochs: int = RunSettings.demonstration_epochs
    demonstration_stepsize: float = RunSettings.demonstration_stepsize
    env_threads: int = 1
    heartbeat: Heartbeat | None = None
    run_dir: str | os.PathLike[str] | None = None
    progress: bool = False
    action_masks: bool | None = None

    @property
    def has_outputs(self) -> bool:
        """Whether the run writes its own directory or shows its progress."""
        return self.run_dir is not None or self.progress

    def validate(self) -> None:
        """Check all values and convert numbers to int and bool.

        Raises:
            UserError: for the first invalid value.
        """
        check_choice("averaging", self.averaging, AVERAGING)
        self.checkpoint_every = check_int_argument("checkpoint_every", self.checkpoint_every, 1)
        self.env_threads = check_int_argument("env_threads", self.env_threads, 1)
        self.progress = check_bool("progress", self.progress)
        self.demonstration_epochs = check_int_argument("demonstration_epochs", self.demonstration_epochs, 1)
        self.demonstration_stepsize = check_greater("demonstration_stepsize", self.demonstration_stepsize, 0)
        if self.action_masks is not None:
            self.action_masks = check_bool("action_masks", self.action_masks)
        if self.load_path is not None:
            user_path(self.load_path, "load_path")
        if self.demonstrations is not None:
            source_name(self.demonstrations)
            if self.load_path is not None:
                raise UserError(TWO_STARTS)
        if self.comm is not None and not isinstance(self.comm, Communicator):
            raise UserError(
                f"invalid comm={safe_repr(self.comm)}: must be a common.distributed.communicator.Communicator; leave "
                "it out to use all ranks of the job"
            )

    def use_roots_outputs(self, comm: Communicator) -> None:
        """Set `run_dir` and `progress` to rank 0's values on all ranks. Collective.

        Raises:
            UserError: on all ranks, if rank 0's `run_dir` is not a valid path.
        """

        def outputs() -> tuple[Any, bool]:
            run_dir = None if self.run_dir is None else user_path(self.run_dir, "run_dir")
            return run_dir, self.progress

        self.run_dir, self.progress = comm.run_on_root(outputs)
