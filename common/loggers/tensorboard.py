"""TensorBoard events."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from common.compilation import Compiled
from common.loggers.logger import LoggerOutput
from common.storage.paths import user_path
from common.storage.write_errors import WriteError


class TensorBoardOutput(LoggerOutput):
    """Writes rows as TensorBoard events, with environment steps as the x axis. A row is one compiled call.

    Args:
        folder: the directory of the event files. Each output has its own event file.

    Raises:
        WriteError: also from every method, if the directory cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = user_path(folder)
        self.names: list[str] | None = None
        with self._raises_write_error():
            self.writer = tf.summary.create_file_writer(str(self.folder))
        self._write = Compiled(self._write_graph)

    @contextlib.contextmanager
    def _raises_write_error(self) -> Iterator[None]:
        """Context manager that turns TensorFlow's file errors into `WriteError`s with the named errno."""
        try:
            yield
        except tf.errors.OpError as error:
            code = next((code for code in errno.errorcode if os.strerror(code) in error.message), errno.EIO)
            raise WriteError(code, os.strerror(code), str(self.folder)) from error

    def another(self) -> TensorBoardOutput:
        """Return an output to the same directory, for rows with other columns."""
        return TensorBoardOutput(self.folder)

    def _write_graph(self, values: tf.Tensor, step: tf.Tensor) -> None:
        with self.writer.as_default(step):
            for i, name in enumerate(self.names or ()):
                tf.summary.scalar(name, values[i])

    def write(self, row: Mapping[str, float], timesteps: int) -> None:
        """Write a row's scalars at `timesteps`."""
        self.names = self.names or list(row)
        values = tf.constant([float(value) for value in row.values()], tf.float32)
        with self._raises_write_error():
            self._write(values, tf.constant(timesteps, tf.int64))

    def hyperparameters(self, settings: Mapping[str, Any]) -> None:
        """Write settings for TensorBoard's HPARAMS page. A resumed run's settings replace the first ones."""
        from tensorboard.plugins.hparams import summary_v2

        plain = {
            name: value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
            for name, value in settings.items()
        }
        with self._raises_write_error(), self.writer.as_default(0):
            summary_v2.hparams(plain)

    def histogram(self, name: str, values: np.ndarray, timesteps: int) -> None:
        """Write a histogram of an array's values at `timesteps`."""
        with self._raises_write_error(), self.writer.as_default(timesteps):
            tf.summary.histogram(name, values)

    def flush(self) -> None:
        """Write buffered events."""
        with self._raises_write_error():
            self.writer.flush()

    def close(self) -> None:
        """Write buffered events, and close the file."""
        with self._raises_write_error():
            self.writer.close()
