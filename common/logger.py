"""What a run writes as it goes: progress.csv and progress.json as Baselines' logger has them, TensorBoard events, and the screen."""
import csv
import json
import math
import sys
import time
from pathlib import Path


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

    def close(self):
        for output in self.outputs:
            output.close()


class CsvOutput:
    """`progress.csv`: a header, then a line an iteration; appended to if it is there."""

    def __init__(self, path):
        path = Path(path)
        self.header_due = not path.exists() or path.stat().st_size == 0
        self.file = path.open("a", newline="", encoding="utf-8")

    def write(self, row, timesteps):
        writer = csv.writer(self.file, lineterminator="\n")
        if self.header_due:
            writer.writerow(row)
            self.header_due = False
        writer.writerow(row.values())
        self.file.flush()

    def close(self):
        self.file.close()


class JsonOutput:
    """`progress.json`: one JSON object an iteration; what is not a number is null."""

    def __init__(self, path):
        self.file = Path(path).open("a", encoding="utf-8")

    def write(self, row, timesteps):
        clean = {name: value if not isinstance(value, float) or math.isfinite(value) else None for name, value in row.items()}
        self.file.write(json.dumps(clean) + "\n")
        self.file.flush()

    def close(self):
        self.file.close()


class TensorBoardOutput:
    """TensorBoard events through `tf.summary`, against environment steps; all of a row's scalars in one compiled call."""

    def __init__(self, folder):
        import tensorflow as tf
        self.tf = tf
        self.writer = tf.summary.create_file_writer(str(folder))
        self.names = None
        self._write = tf.function(self._write_graph, autograph=False)

    def _write_graph(self, values, step):
        with self.writer.as_default(step):
            for i, name in enumerate(self.names):
                self.tf.summary.scalar(name, values[i])

    def write(self, row, timesteps):
        self.names = self.names or list(row)
        self._write(self.tf.constant([float(v) for v in row.values()], self.tf.float32), self.tf.constant(timesteps, self.tf.int64))

    def flush(self):
        self.writer.flush()

    def close(self):
        self.writer.close()


SHOWN = {"TimestepsSoFar": "steps", "EpRewMean": "return", "EpLenMean": "length", "loss_kl": "kl", "clipfrac": "clip", "loss_ent": "entropy",
         "ev_tdlam_before": "explained"}


class Screen:
    """Progress, speed and time left: one live line on a terminal, a plain line every `interval` seconds elsewhere.

    Args:
        progress: function () -> part of the run that is done, 0 to 1.
        interval: seconds between plain lines.
        stream: where to; stdout if None.
    """

    def __init__(self, progress, interval=10.0, stream=None):
        self.progress, self.interval, self.stream = progress, interval, stream or sys.stdout
        self.started, self.first, self.last_line = time.monotonic(), None, -math.inf
        self.live = None
        if self.stream.isatty():
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            self.live = Progress(BarColumn(20), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn(), TextColumn("left"),
                                 TimeRemainingColumn(), TextColumn("{task.fields[text]}"), refresh_per_second=4)
            self.live.start()
            self.task = self.live.add_task("", total=1.0, text="first segment")

    def write(self, row, timesteps):
        now, done = time.monotonic(), min(self.progress(), 1.0)
        first = self.first = self.first or (now, timesteps, done)
        # the first iteration compiles: speed and time left are those of the rest
        speed = (timesteps - first[1]) / (now - first[0]) if now > first[0] else float("nan")
        text = f"{speed:,.0f} steps/s  " if speed == speed else ""
        text += "  ".join(f"{label} {self._number(row[name])}" for name, label in SHOWN.items() if name in row)
        if self.live is not None:
            self.live.update(self.task, completed=done, text=text)
        elif now - self.last_line >= self.interval or done >= 1:
            self.last_line = now
            left = (1 - done) * (now - first[0]) / (done - first[2]) if done > first[2] else float("nan")
            waiting = f"  {self._clock(left)} left" if left == left else ""
            print(f"{done:4.0%}  {self._clock(now - self.started)}{waiting}  {text}", file=self.stream, flush=True)

    @staticmethod
    def _number(value):
        return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"

    @staticmethod
    def _clock(seconds):
        return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"

    def close(self):
        if self.live is not None:
            self.live.stop()
