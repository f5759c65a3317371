"""What a run writes as it goes: progress.csv and progress.json as Baselines' logger has them, and TensorBoard events."""

import contextlib
import csv
import errno
import io
import json
import math
import os

import numpy as np

from common.storage.append_file import AppendOnlyFile
from common.storage.paths import user_path
from common.storage.write_errors import WriteError
from common.training.callbacks import Callback


class Logger:
    """One row an iteration, into every output.

    Args:
        outputs: objects with `write(row: dict, timesteps)` and `close()`.
    """

    def __init__(self, outputs):
        self.outputs = outputs

    def write(self, row, timesteps):
        """Log a row {name: number}; the names are the same in every row."""
        for output in self.outputs:
            output.write(row, timesteps)

    def flush(self):
        """Bring to disk what an output holds back."""
        for output in self.outputs:
            if hasattr(output, "flush"):
                output.flush()

    def close(self):
        """Close every output, once."""
        outputs, self.outputs = self.outputs, []
        for output in outputs:
            output.close()


class CsvOutput:
    """`progress.csv`: a header, then a line an iteration; appended to if it is there."""

    def __init__(self, path):
        self.rows = AppendOnlyFile(path)
        self.header_due = self.rows.is_empty()

    def write(self, row, timesteps):
        """Append a row, under a header if it is the first."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([row, row.values()] if self.header_due else [row.values()])
        self.rows.write(text.getvalue())
        self.header_due = False

    def close(self):
        self.rows.close()


class JsonOutput:
    """`progress.json`: one JSON object an iteration; what is not a number is null."""

    def __init__(self, path):
        self.rows = AppendOnlyFile(path)

    def write(self, row, timesteps):
        """Append a row as an object."""
        clean = {
            name: value if not isinstance(value, float) or math.isfinite(value) else None for name, value in row.items()
        }
        self.rows.write(json.dumps(clean) + "\n")

    def close(self):
        self.rows.close()


class TensorBoardOutput:
    """TensorBoard events through `tf.summary`, against environment steps; all of a row's scalars in one compiled call.

    Args:
        folder: where event files go; each output has one of its own.
    """

    def __init__(self, folder):
        import tensorflow as tf

        from common.compilation import Compiled

        self.tf, self.folder = tf, user_path(folder)
        self.names = None
        with self._refusals():
            self.writer = tf.summary.create_file_writer(str(self.folder))
        self._write = Compiled(self._write_graph)

    @contextlib.contextmanager
    def _refusals(self):
        """A block that writes events: TensorFlow has errors of its own for what the system refuses, and says which in words."""
        try:
            yield
        except self.tf.errors.OpError as error:
            number = next((code for code in errno.errorcode if os.strerror(code) in error.message), errno.EIO)
            raise WriteError(number, os.strerror(number), str(self.folder)) from error

    def another(self):
        """An output into the same folder, for rows with other names."""
        return TensorBoardOutput(self.folder)

    def _write_graph(self, values, step):
        with self.writer.as_default(step):
            for i, name in enumerate(self.names):
                self.tf.summary.scalar(name, values[i])

    def write(self, row, timesteps):
        """Write a row's scalars at `timesteps`."""
        self.names = self.names or list(row)
        with self._refusals():
            self._write(
                self.tf.constant([float(v) for v in row.values()], self.tf.float32),
                self.tf.constant(timesteps, self.tf.int64),
            )

    def hyperparameters(self, settings):
        """Write settings {name: value} for TensorBoard's HPARAMS page; those of a resumed run take the place of the first."""
        from tensorboard.plugins.hparams import summary_v2

        plain = {
            name: value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
            for name, value in settings.items()
        }
        with self._refusals(), self.writer.as_default(0):
            summary_v2.hparams(plain)

    def histogram(self, name, values, timesteps):
        """Write the distribution of an array's values."""
        with self._refusals(), self.writer.as_default(timesteps):
            self.tf.summary.histogram(name, values)

    def flush(self):
        with self._refusals():
            self.writer.flush()

    def close(self):
        with self._refusals():
            self.writer.close()


class Histograms(Callback):
    """TensorBoard histograms of weights, actions and advantages, whenever a checkpoint is written.

    Args:
        tensorboard: a `TensorBoardOutput`.
    """

    def __init__(self, tensorboard):
        self.tensorboard = tensorboard

    def after_iteration(self, training, stats):
        """Write them, if a checkpoint is due."""
        if training.iters_so_far % training.checkpoint_every:
            return
        arrays = {f"weights/{v.name.split(':')[0]}": v.numpy() for v in training.pi.get_variables()}
        valid = np.asarray(training.seg["valid"], bool)
        arrays |= {"segment/actions": training.seg["ac"][valid], "segment/advantages": training.seg["adv"][valid]}
        for name, values in arrays.items():
            self.tensorboard.histogram(name, np.asarray(values, np.float32), training.timesteps_so_far)
