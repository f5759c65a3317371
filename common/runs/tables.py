"""Tables of a run, read as text: CSV files that may still be written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.storage.append_file import complete_lines
from common.storage.paths import user_path
from common.storage.text_files import decode_text


def read_complete_lines(path: str | Path) -> str:
    r"""Return the text of a file up to its last newline; line ends become "\n".

    Raises:
        UserError: if it cannot be read, or is not text.
    """
    path = user_path(path)
    try:
        text = decode_text(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {path}: it is not text; it is corrupt, or no Monitor or progress file") from error
    except ValueError as error:
        raise UserError(f"cannot read {path}: {error}") from error
    return complete_lines(text)


def csv_rows(path: str | Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of each row that is not empty.

    Args:
        path: the file, for error messages.
        text: its text.

    Raises:
        UserError: for text that is not CSV.
    """
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from error


def read_progress(path: str | Path) -> dict[str, np.ndarray]:
    """Read a progress.csv, or another table of numbers, without an incomplete last line.

    Returns:
        {column: [rows] float64}, NaN for a cell that is empty or not a number; {} for a file without a header yet.

    Raises:
        UserError: if it cannot be read, or a row has more cells than the header.
    """
    rows = csv_rows(path, read_complete_lines(path))
    _, header = next(rows, (0, []))
    table = []
    for line, row in rows:
        while len(row) > len(header) and not row[-1]:
            del row[-1]  # a comma after the last cell
        if len(row) > len(header):
            raise UserError(
                f"{path}, line {line}: {len(row)} cells, but the header has {len(header)}; "
                "it is not a progress.csv, or corrupt"
            )
        table.append([_to_float(cell) for cell in row] + [float("nan")] * (len(header) - len(row)))
    columns = np.array(table, float).reshape(len(table), len(header)).T
    return dict(zip(header, columns))


def _to_float(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
