"""Writes the log's rows: `progress.csv` and `progress.json` in the format of Baselines' logger, and other outputs."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence

from common.storage.append_file import AppendOnlyFile


class LoggerOutput:
    """Base class of a `Logger`'s outputs."""

    def write(self, row: Mapping[str, float], timesteps: int) -> None:
        """Write a row.

        Args:
            row: {column: number}, with the same columns in every row.
            timesteps: environment steps so far, summed over ranks.
        """
        raise NotImplementedError

    def flush(self) -> None:
        """Write what is buffered to the disk."""

    def notify(self, text: str) -> None:
        """Show a line to the user. Safe in a signal handler."""

    def close(self) -> None:
        """Write what is buffered, and close files."""


class Logger:
    """Writes each iteration's row to every output.

    Args:
        outputs: where rows go.
    """

    def __init__(self, outputs: Sequence[LoggerOutput]) -> None:
        self.outputs = list(outputs)

    def write(self, row: Mapping[str, float], timesteps: int) -> None:
        """Write a row {column: number} to every output; `timesteps` are the environment steps so far."""
        for output in self.outputs:
            output.write(row, timesteps)

    def flush(self) -> None:
        """Flush every output."""
        for output in self.outputs:
            output.flush()

    def close(self) -> None:
        """Close every output, once."""
        outputs, self.outputs = self.outputs, []
        for output in outputs:
            output.close()


class CsvOutput(LoggerOutput):
    """`progress.csv`: a header and one line per iteration. Appends to an existing file.

    Args:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.rows = AppendOnlyFile(path)
        self.header_due = self.rows.is_empty()

    def write(self, row: Mapping[str, float], timesteps: int) -> None:
        """Append a row, after a header if the file is empty."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([row, row.values()] if self.header_due else [row.values()])
        self.rows.write(text.getvalue())
        self.header_due = False

    def close(self) -> None:
        """Close the file."""
        self.rows.close()


class JsonOutput(LoggerOutput):
    """`progress.json`: one JSON object per iteration; NaN and infinity become null.

    Args:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.rows = AppendOnlyFile(path)

    def write(self, row: Mapping[str, float], timesteps: int) -> None:
        """Append a row as an object."""
        clean = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }
        self.rows.write(json.dumps(clean) + "\n")

    def close(self) -> None:
        """Close the file."""
        self.rows.close()
