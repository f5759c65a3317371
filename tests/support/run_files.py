"""Reads the files of a run directory, to compare two runs."""

import csv
import json
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SHORT = [
    "--env",
    "CartPole-v1",
    "--hid-size",
    "8",
    "--batch",
    "per-rank",
    "--num-envs",
    "2",
    "--timesteps-per-actorbatch",
    "64",
    "--optim-batchsize",
    "32",
    "--optim-epochs",
    "1",
    "--max-iters",
    "14",
    "--checkpoint-every",
    "3",
    "--keep-checkpoints",
    "2",
    "--eval-every",
    "2",
    "--eval-episodes",
    "1",
    "--report",
    "false",
]


def rows(path):
    """The rows of a CSV log without time columns; every row must be complete, with as many cells as the header."""
    text = path.read_text()
    assert text.endswith("\n"), path
    lines = list(csv.reader(text.splitlines()[path.name.endswith("monitor.csv") :]))
    assert all(len(line) == len(lines[0]) for line in lines), path
    timeless = [i for i, name in enumerate(lines[0]) if name not in ("TimeElapsed", "t")]
    return [[line[i] for i in timeless] for line in lines]


def objects(path):
    """The objects of progress.json without times."""
    return [
        {name: value for name, value in json.loads(line).items() if name != "TimeElapsed"}
        for line in path.read_text().splitlines()
    ]


def scalars(folder):
    """{tag: [(step, value)]} of TensorBoard events, in order, without times; evaluations have separate files."""
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return {
        tag: sorted((event.step, event.tensor_proto.SerializeToString()) for event in events.Tensors(tag))
        for tag in events.Tags()["tensors"]
        if tag != "TimeElapsed" and not tag.startswith("_hparams")
    }


def names(folder):
    """Every file of a run except TensorBoard's, whose names contain the time."""
    return sorted(
        str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file() and path.parent.name != "tb"
    )


def assert_same_run(found, expected):
    """Check that two runs have the same files, bit-identical except for times."""
    assert names(found) == names(expected)
    for name in names(expected):
        if name.endswith(".csv"):
            assert rows(found / name) == rows(expected / name), name
        elif name.endswith("policy.safetensors"):
            assert (found / name).read_bytes() == (expected / name).read_bytes(), name
    assert objects(found / "progress.json") == objects(expected / "progress.json")
    assert scalars(found / "tb") == scalars(expected / "tb")
