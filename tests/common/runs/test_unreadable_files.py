"""Checkpoints and best policies that cannot be read are kept; only damaged ones are skipped or replaced."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from baselines_ppo.experiment.callbacks import BestPolicy
from baselines_ppo.experiment.directory import acquire_run_directory
from common.distributed.communicator import Communicator
from common.errors import UserError
from common.policies.files import FORMAT as POLICY
from common.runs.checkpoint_store import FORMAT as CHECKPOINT
from common.runs.run_directory import RunDirectory
from common.storage.array_files import load_arrays, save_arrays
from common.training.state import validate_checkpoint


def test_a_resumed_run_discards_later_checkpoints_and_the_final_policy(tmp_path):
    folder = RunDirectory(tmp_path)
    for iteration, forced in ((25, False), (30, True), (50, False)):
        folder.checkpoints.save(iteration, {"x": np.zeros(1)}, {}, forced)
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy/policy.safetensors").touch()
    folder.discard_after(tmp_path / "checkpoints/ckpt-00000025.safetensors")
    assert [path.name for path in folder.checkpoints.paths()] == ["ckpt-00000025.safetensors"]
    assert not (tmp_path / "policy/policy.safetensors").exists()


COUNTERS = {"timesteps_so_far": 1, "episodes_so_far": 0, "iters_so_far": 1, "elapsed": 1.0, "seed": 0}


@pytest.fixture
def folder(tmp_path):
    """A run with two checkpoints."""
    run = RunDirectory(tmp_path)
    for iteration in (25, 50):
        run.checkpoints.save(
            iteration,
            {"rewbuffer": np.zeros(0), "lenbuffer": np.zeros(0, np.int64)},
            {"counters": COUNTERS, "logs": [{}]},
        )
    return run


def test_a_damaged_checkpoint_is_skipped_and_renamed(folder):
    newest, older = folder.checkpoints.paths()
    newest.write_bytes(newest.read_bytes()[:-1])
    assert folder.checkpoints.latest(validate_checkpoint)[2] == older
    folder.discard_after(older)
    assert folder.checkpoints.paths() == [older] and [
        path.name for path in older.parent.iterdir() if path != older
    ] == [f"{newest.name}.damaged"]


@pytest.fixture(params=[errno.EIO, errno.EMFILE, errno.ESTALE, errno.EACCES, errno.ENOMEM])
def unreadable(request, monkeypatch):
    """A function after which no file can be read."""

    def refuse(path):
        raise MemoryError if request.param == errno.ENOMEM else OSError(request.param, os.strerror(request.param))

    return lambda: monkeypatch.setattr(Path, "read_bytes", refuse)


def test_an_unreadable_checkpoint_is_not_treated_as_damaged(unreadable, folder):
    unreadable()
    with pytest.raises(
        UserError,
        match="ckpt-00000050.safetensors: .*; nothing was changed: fix that, or move the file away to resume "
        "without it$",
    ):
        folder.checkpoints.latest(validate_checkpoint)
    assert len(folder.checkpoints.paths()) == 2


def test_a_checkpoint_of_another_version_is_not_treated_as_damaged(folder):
    newest = folder.checkpoints.paths()[0]
    save_arrays(
        newest,
        *(lambda arrays, metadata: (arrays, metadata | {"format": "baselines_ppo.checkpoint.2"}))(
            *load_arrays(newest, CHECKPOINT)
        ),
    )
    with pytest.raises(UserError, match="another version of this package wrote it; nothing was changed"):
        folder.checkpoints.latest(validate_checkpoint)


@pytest.fixture
def best(tmp_path):
    """A run's best policy so far, with a score of 5."""
    (tmp_path / "best").mkdir()
    path = tmp_path / "best/policy.safetensors"
    save_arrays(path, {}, {"format": POLICY, "by": "EpRewMean", "score": 5.0})
    assert BestPolicy(tmp_path, "EpRewMean").score == 5.0
    return path


def test_an_unreadable_best_policy_is_not_replaced_by_a_worse_one(unreadable, best):
    unreadable()
    for asks in (BestPolicy, lambda folder, _: acquire_run_directory(folder, Communicator(None), False, 3)):
        with pytest.raises(
            UserError,
            match="cannot read .*/best/policy.safetensors: .*; fix that, or move the file away to resume without it$",
        ):
            asks(best.parents[1], "EpRewMean")


def test_a_damaged_best_policy_is_replaced_and_one_of_another_version_is_not(best):
    save_arrays(best, {}, {"format": f"{POLICY}.2", "by": "EpRewMean", "score": 5.0})
    with pytest.raises(
        UserError,
        match="another version of this package wrote it; fix that, or move the file away to resume without it$",
    ):
        BestPolicy(best.parents[1], "EpRewMean")
    for score in (None, "5"):
        save_arrays(best, {}, {"format": POLICY, "by": "EpRewMean", "score": score})
        assert BestPolicy(best.parents[1], "EpRewMean").score == -np.inf
    best.write_bytes(best.read_bytes()[:-1])
    assert BestPolicy(best.parents[1], "EpRewMean").score == -np.inf
    best.unlink()
    assert BestPolicy(best.parents[1], "EpRewMean").score == -np.inf


def test_a_checkpoint_directory_that_cannot_be_listed_is_not_treated_as_empty(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(UserError, match="cannot read .*/checkpoints: Permission denied; nothing was changed"):
        folder.checkpoints.latest(validate_checkpoint)
