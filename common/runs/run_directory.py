"""A run's folder: `config.json`, logs, checkpoints, the final policy. Rank 0 writes it; every rank its own monitor files."""

import contextlib
import json
import os
import re
import sys
from pathlib import Path

from common.diagnostics.nonfinite import first_nonfinite_array
from common.errors import UnreadableFileError, UserError
from common.formatting import safe_repr
from common.hints import OTHER_RUN_DIR
from common.runs.log_files import RunLogFiles
from common.storage.array_files import load_arrays, save_arrays
from common.storage.atomic import TEMP_PATTERN, atomic_write
from common.storage.directory_lock import DirectoryLock
from common.storage.json_files import read_json
from common.storage.paths import check_directory_writable, user_path
from common.storage.write_errors import raises_write_error, user_error_on_os_error
from common.validation import check_bool, check_float, check_int, error_prefix

FORMAT = "baselines_ppo.checkpoint"
CHECKPOINT = re.compile(r"ckpt-(\d{8})(-forced)?\.safetensors")
SUB_FOLDERS = ("checkpoints", "best", "policy", "start", "tb", "ranks", "post-mortem")


class RunDirectory:
    """The folder of one run.

    Args:
        path: the folder; made if it is not there.
        keep: checkpoints kept, the newest.

    Attributes:
        passed_over: {path: what was wrong} of the checkpoints that `latest_checkpoint` did not take.

    Raises:
        UserError: if it cannot be made.
    """

    def __init__(self, path, keep=3):
        self.path, self.keep, self.lock = user_path(path, "run directory"), keep, None
        self.skipped_checkpoints = {}
        with user_error_on_os_error(f"run directory {self.path}", OTHER_RUN_DIR):
            for folder in (self.path, self.path / "checkpoints"):
                folder.mkdir(parents=True, exist_ok=True)

    def check_writable(self):
        """Raises UserError if this process cannot write here."""
        with user_error_on_os_error(f"run directory {self.path}", OTHER_RUN_DIR):
            check_directory_writable(self.path)

    def claim(self):
        """Take the folder for this process (`DirectoryLock`), and remove what writers that were killed have left in it half done.

        Returns:
            None, or one line of warning if it cannot be locked.

        Raises:
            UserError: if a run that is still alive has it, it cannot be written, or a link in it leads elsewhere. Nothing has been touched then.
        """
        for path in (self.path / name for name in (*SUB_FOLDERS, ".lock")):
            if path.is_symlink():
                raise UserError(
                    f"{path} is a link, and a run writes into its own folder alone; put what it leads to in its place"
                )
        with user_error_on_os_error(f"run directory {self.path}", OTHER_RUN_DIR):
            self.lock = DirectoryLock(self.path)
        self.check_writable()
        if self.lock.warning is None:
            with user_error_on_os_error(f"run directory {self.path}", OTHER_RUN_DIR):
                for path in self._half_done():
                    path.unlink(missing_ok=True)
        return self.lock.warning

    def release(self):
        """Give the folder back."""
        if self.lock is not None:
            self.lock.release()

    def verify_ownership(self):
        """Raises OSError if the folder is no longer this run's, as `DirectoryLock.check`: another run's must not be written into."""
        if self.lock is not None:
            self.lock.check()

    def _half_done(self):
        folders = (self.path, *(self.path / name for name in ("checkpoints", "best", "policy", "start")))
        return [path for folder in folders for path in folder.glob(".*") if TEMP_PATTERN.fullmatch(path.name)]

    def stale_files(self):
        """Names of the checkpoints and logs, of any rank, that stand here."""
        return [*(str(path.relative_to(self.path)) for path in self.checkpoints()), *RunLogFiles(self.path).names()]

    def way_on(self, error):
        """What is left of the run after a `WriteError`, and how to go on, in words; none of it may fail, where files already do."""
        with contextlib.suppress(OSError):
            if newest := self.checkpoints()[:1]:
                return f"the last whole checkpoint is {newest[0].name}; {error.hint} and go on with --resume"
            if (self.path / "config.json").exists():
                return f"there is no checkpoint yet; {error.hint} and start again with --resume"
        return f"there is no checkpoint; {error.hint} and start again"

    # ---- config.json

    def read_config(self):
        """The run's settings, or None if no run has been here.

        Raises:
            UserError: if the file cannot be read.
        """
        return self.config_in(self.path)

    @staticmethod
    def config_in(folder):
        """As `read_config`, of any folder, which is not touched."""
        path = user_path(folder) / "config.json"
        try:
            if not path.exists():
                return None
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        return read_json(path)

    def write_config(self, config):
        """Write `config.json`, whole or not at all."""
        atomic_write(self.path / "config.json", (json.dumps(config, indent=1) + "\n").encode())

    # ---- checkpoints

    def checkpoints(self):
        """Paths of the checkpoints, the newest first. OSError if nobody may look."""
        return self.checkpoints_in(self.path)

    @staticmethod
    def checkpoints_in(folder):
        """As `checkpoints`, of any folder, which is not touched."""
        folder = Path(folder) / "checkpoints"
        try:
            found = os.listdir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [
            folder / name
            for name in sorted(
                filter(CHECKPOINT.fullmatch, found), key=lambda name: CHECKPOINT.fullmatch(name).group(1), reverse=True
            )
        ]

    def save_checkpoint(self, iteration, arrays, metadata, forced=False):
        """Write a checkpoint and drop the oldest beyond `keep`. A forced one stands outside the schedule and says so in its name."""
        path = self.path / "checkpoints" / f"ckpt-{iteration:08d}{'-forced' if forced else ''}.safetensors"
        with raises_write_error(path):
            self.verify_ownership()
            save_arrays(path, arrays, metadata | {"format": FORMAT, "forced": forced})
            self._drop_older()

    def _drop_older(self):
        """Of the scheduled checkpoints those beyond `keep`, and forced ones that are older than another."""
        found = self.checkpoints()
        scheduled = [path for path in found if "-forced" not in path.name]
        for path in (*scheduled[self.keep :], *(path for path in found[1:] if "-forced" in path.name)):
            path.unlink()

    def latest_checkpoint(self, exact=False):
        """(arrays, metadata, path) of the newest checkpoint that is whole, with counters and sizes that can be; None if there is none.

        Args:
            exact: pass over forced ones, which cut episodes where an undisturbed run would not have.

        `skipped_checkpoints` then has the newer ones that are damaged.

        Raises:
            UserError: if there are checkpoints and every one of them is damaged; or if one that would be taken cannot be read, or by another version
                alone: it may be whole, so none that is older takes its place.
        """
        self.skipped_checkpoints = {}
        try:
            for path in self.checkpoints():
                if exact and "-forced" in path.name:
                    continue
                try:
                    arrays, metadata = load_arrays(path, FORMAT)
                    validate_checkpoint(path, arrays, metadata)
                    return arrays, metadata, path
                except UnreadableFileError as error:
                    raise UserError(
                        f"{error}; nothing was changed: mend that, or move the file away to go on without it"
                    ) from error
                except UserError as error:
                    self.skipped_checkpoints[path] = str(error)
        except OSError as error:
            raise UserError(
                f"cannot read {self.path}/checkpoints: {error.strerror}; nothing was changed: mend that"
            ) from error
        if self.skipped_checkpoints:
            raise UserError(next(iter(self.skipped_checkpoints.values())))
        return None

    def discard_after(self, checkpoint):
        """Before a run goes on from a checkpoint's path, or from its start if None: drop what is newer, and the final policy that is now an older one.
        Those that were passed over stay, as `<name>.damaged`."""
        with raises_write_error(self.path):
            for path in self.skipped_checkpoints:
                path.replace(path.with_name(f"{path.name}.damaged"))
            for path in self.checkpoints():
                if checkpoint is None or path.name > checkpoint.name and path != checkpoint:
                    path.unlink()
            self._drop_older()
            (self.path / "policy" / "policy.safetensors").unlink(missing_ok=True)

    # ---- logs

    def log_sizes(self, rank):
        """Bytes of each log file that this rank writes, as `RunLogFiles.sizes`."""
        return RunLogFiles(self.path, rank).sizes()


def validate_checkpoint(path, arrays, metadata):
    """Raises UserError unless a checkpoint's counters, log sizes, last episodes and parameters, as `common.training.loop` writes them, can be."""
    with error_prefix(path):
        counters, logs = metadata.get("counters"), metadata.get("logs")
        if (
            not isinstance(counters, dict)
            or not isinstance(logs, list)
            or not all(isinstance(sizes, dict) for sizes in logs)
        ):
            raise UserError(
                f"counters={safe_repr(counters)} and logs={safe_repr(logs)} are not a run's; use an older checkpoint"
            )
        for name in ("timesteps_so_far", "episodes_so_far", "iters_so_far", "seed"):
            check_int(name, counters.get(name))
        check_float("elapsed", counters.get("elapsed"), 0, sys.float_info.max)
        check_bool("forced", metadata.get("forced"))
        for sizes in logs:
            for name, size in sizes.items():
                check_int(f"the size of {safe_repr(name)}", size)
        for name, dtype in (("rewbuffer", "float64"), ("lenbuffer", "int64")):
            x = arrays.get(name)
            if x is None or x.dtype != dtype or x.ndim != 1 or len(x) > 100:
                raise UserError(
                    f"{name} is {'not there' if x is None else f'{x.dtype} {x.shape}'}, not up to 100 {dtype}; use an older checkpoint"
                )
        parameters = {name.removeprefix("pi/"): x for name, x in arrays.items() if name.startswith("pi/")}
        if bad := first_nonfinite_array(parameters, "pi"):
            raise UserError(f"{bad}; use an older checkpoint")
