"""The log's files, read back with the tools that they are written for."""

import csv
import json
import math

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common.loggers.logger import CsvOutput, JsonOutput, Logger
from common.loggers.tensorboard import TensorBoardOutput

ROWS = [
    {"EpLenMean": float("nan"), "EpRewMean": -1.5, "TimestepsSoFar": 2048, "loss_kl": 1e-9},
    {"EpLenMean": 30.25, "EpRewMean": 1 / 3, "TimestepsSoFar": 4096, "loss_kl": float("inf")},
]


def write(output, rows=ROWS):
    logger = Logger([output])
    for row in rows:
        logger.write(row, row["TimestepsSoFar"])
    logger.close()


def equal_or_both_nan(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


def test_csv_has_a_header_and_one_line_per_iteration_with_all_digits(tmp_path):
    path = tmp_path / "progress.csv"
    write(CsvOutput(path))
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert path.read_text().splitlines()[0] == "EpLenMean,EpRewMean,TimestepsSoFar,loss_kl"
    for line, row in zip(found, ROWS, strict=True):
        assert all(equal_or_both_nan(float(line[name]), value) for name, value in row.items())


def test_csv_is_appended_to_without_a_second_header(tmp_path):
    path = tmp_path / "progress.csv"
    write(CsvOutput(path), ROWS[:1])
    first = path.read_text()
    write(CsvOutput(path), ROWS[1:])
    assert path.read_text().startswith(first)
    assert len(path.read_text().splitlines()) == 3


def test_an_empty_csv_file_gets_a_header(tmp_path):
    (tmp_path / "progress.csv").touch()
    write(CsvOutput(tmp_path / "progress.csv"), ROWS[:1])
    assert (tmp_path / "progress.csv").read_text().startswith("EpLenMean,")


def test_json_has_one_object_per_line_with_null_for_nan_and_infinity(tmp_path):
    path = tmp_path / "progress.json"
    write(JsonOutput(path), ROWS[:1])
    write(JsonOutput(path), ROWS[1:])
    found = [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]
    assert found == [ROWS[0] | {"EpLenMean": None}, ROWS[1] | {"loss_kl": None}]


def test_rows_are_on_disk_immediately(tmp_path):
    for output, path in ((CsvOutput, tmp_path / "a.csv"), (JsonOutput, tmp_path / "a.json")):
        open_output = output(path)
        open_output.write(ROWS[0], 0)
        assert "2048" in path.read_text()
        open_output.close()


def test_tensorboard_reads_every_scalar_at_its_timestep(tmp_path):
    write(TensorBoardOutput(tmp_path / "tb"))
    events = EventAccumulator(str(tmp_path / "tb"), size_guidance={"tensors": 0})
    events.Reload()
    assert set(events.Tags()["tensors"]) == set(ROWS[0])
    for name in ROWS[0]:
        found = events.Tensors(name)
        assert [event.step for event in found] == [2048, 4096]
        for event, row in zip(found, ROWS):
            (value,) = event.tensor_proto.float_val or np.frombuffer(event.tensor_proto.tensor_content, np.float32)
            assert equal_or_both_nan(np.float32(value), np.float32(row[name]))


def test_every_output_gets_every_row(tmp_path):
    outputs = [CsvOutput(tmp_path / "a.csv"), JsonOutput(tmp_path / "a.json")]
    logger = Logger(outputs)
    for row in ROWS:
        logger.write(row, 0)
    logger.close()
    assert (
        len((tmp_path / "a.csv").read_text().splitlines()) == 3
        and len((tmp_path / "a.json").read_text().splitlines()) == 2
    )
