"""Files of arrays: what comes back, and what is refused."""

import errno
import json
import os
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from baselines_ppo.experiment.callbacks import Best
from baselines_ppo.experiment.directory import acquire_run_directory
from common.distributed.communicator import Communicator
from common.errors import UserError
from common.policies.files import FORMAT as POLICY
from common.runs.checkpoint_store import FORMAT as CHECKPOINT
from common.runs.run_directory import RunDirectory
from common.storage.array_files import check_arrays, load_arrays, save_arrays
from common.storage.atomic import atomic_write
from common.training.state import validate_checkpoint

FORMAT = "test.arrays"
ARRAYS = {
    "w": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32),
    "double": np.float64([1e300, -0.0, np.inf]),
    "count": np.array([2**62], np.int64),
    "scalar": np.float64(3.5).reshape(()),
    "flags": np.array([True, False]),
    "none": np.zeros((0, 2), np.float32),
    "view": np.arange(12, dtype=np.int32).reshape(3, 4).T,
    "bytes": np.arange(5, dtype=np.uint8),
}
METADATA = {
    "format": FORMAT,
    "settings": {"hid_size": 64, "bounds": [float("inf"), -0.5], "name": 'naïve\n"x"'},
    "nothing": None,
}


def saved(folder, arrays=ARRAYS, metadata=METADATA):
    path = folder / "file.safetensors"
    save_arrays(path, arrays, metadata)
    return path


def refusal(path, expected_format=FORMAT):
    with pytest.raises(UserError) as error:
        load_arrays(path, expected_format)
    assert "\n" not in str(error.value) and path.name in str(error.value)
    return str(error.value)


def test_arrays_and_metadata_come_back_to_the_bit(tmp_path):
    arrays, metadata = load_arrays(saved(tmp_path), FORMAT)
    assert metadata == METADATA
    assert arrays.keys() == ARRAYS.keys()
    for name, x in ARRAYS.items():
        assert arrays[name].dtype == x.dtype and arrays[name].shape == x.shape
        assert arrays[name].tobytes() == x.tobytes()


def test_loaded_arrays_can_be_written_to(tmp_path):
    load_arrays(saved(tmp_path), FORMAT)[0]["w"][0] = 1


def test_equal_contents_are_equal_files(tmp_path):
    first = saved(tmp_path).read_bytes()
    assert saved(tmp_path, dict(reversed(ARRAYS.items())), dict(METADATA)).read_bytes() == first


def test_a_truncated_file_is_refused_wherever_it_was_cut(tmp_path):
    path = saved(tmp_path)
    data = path.read_bytes()
    for length in range(0, len(data), 37):
        path.write_bytes(data[:length])
        refusal(path)


def test_a_flipped_bit_is_refused_wherever_it_is(tmp_path):
    """All bits of the header's length, and one of each seventh byte of the rest."""
    path = saved(tmp_path)
    data = path.read_bytes()
    places = [(byte, bit) for byte in range(8) for bit in range(8)] + [
        (byte, byte % 8) for byte in range(8, len(data), 7)
    ]
    for byte, bit in places:
        damaged = bytearray(data)
        damaged[byte] ^= 1 << bit
        path.write_bytes(damaged)
        refusal(path)


def test_bytes_behind_the_end_are_refused(tmp_path):
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes() + b"\0" * 8)
    refusal(path)


def test_another_format_is_refused_by_its_name(tmp_path):
    message = refusal(saved(tmp_path), "test.policy")
    assert "'test.arrays'" in message and "'test.policy'" in message


@pytest.mark.parametrize(
    "header",
    [
        "null",
        "[]",
        "3",
        '"text"',
        "{}",
        '{"metadata": null}',
        '{"metadata": []}',
        '{"metadata": {"format": "test.arrays"}}',
        '{"metadata": {"format": "test.arrays"}, "sha256": null}',
        "[" * 5000,
        "{",
    ],
)
def test_headers_of_others_are_refused(tmp_path, header):
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(save({"w": ARRAYS["w"]}, metadata={"baselines_ppo": header}))
    refusal(path)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"w": ARRAYS["w"]}, path)
    refusal(path)
    for data in (
        b"",
        b"hello",
        b"\x80\x04K\x01.",
        b"\xff" * 100,
        (2**63).to_bytes(8, "little"),
        (2).to_bytes(8, "little") + b"[]",
        (4).to_bytes(8, "little") + b"null",
        json.dumps({"a": 1}).encode() * 50,
    ):
        path.write_bytes(data)
        refusal(path)


def test_a_hash_made_for_a_forged_type_is_still_checked(tmp_path):
    """A header that names a type safetensors has and NumPy has not."""
    path = saved(tmp_path, {"w": np.zeros(4, np.int16)})
    path.write_bytes(path.read_bytes().replace(b'"I16"', b'"F99"'))
    refusal(path)
    path = saved(tmp_path, {"w": np.zeros(4, np.int16)})
    path.write_bytes(path.read_bytes().replace(b'"I16"', b'"F16"'))
    refusal(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "absent.safetensors")
    assert "directory" in refusal(tmp_path)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside(tmp_path):
    """The disk is full after 100 bytes: a limit on this process's file sizes does the same."""
    path = tmp_path / "file"
    atomic_write(path, b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError):
            atomic_write(path, b"new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_rename_that_fails_leaves_nothing_beside(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError):
        atomic_write(tmp_path / "file", b"new")
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_new_file_replaces_the_old_one_whole(tmp_path):
    for data in (b"a long first version", b"short"):
        atomic_write(tmp_path / "file", data)
        assert (tmp_path / "file").read_bytes() == data
    assert len(list(tmp_path.iterdir())) == 1


def test_threads_that_write_one_file_at_once_leave_a_whole_one_and_nothing_beside_it(tmp_path):
    def write(i):
        for _ in range(20):
            save_arrays(tmp_path / "x", {"x": np.full(10_000, i)}, METADATA)
            load_arrays(tmp_path / "x", FORMAT)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_matching_arrays_pass_the_check():
    check_arrays("here", ARRAYS, {name: np.zeros_like(x) for name, x in ARRAYS.items()})


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({}, "missing arrays ['b', 'w']"),
        ({"w": np.zeros(2), "b": np.zeros(1), "x": np.zeros(1)}, "unexpected arrays ['x']"),
        ({"w": np.zeros(3), "b": np.zeros(1)}, "w is float64 (3,), expected float64 (2,)"),
        ({"w": np.zeros(2, np.float32), "b": np.zeros(1)}, "w is float32 (2,), expected float64 (2,)"),
    ],
)
def test_another_model_is_refused_with_what_differs(arrays, says):
    with pytest.raises(UserError) as error:
        check_arrays("a/path", arrays, {"w": np.zeros(2), "b": np.zeros(1)})
    assert says in str(error.value) and "a/path" in str(error.value) and "\n" not in str(error.value)


def test_a_run_that_goes_on_forgets_what_came_after_and_its_older_final_policy(tmp_path):
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


def test_a_damaged_checkpoint_is_passed_over_and_kept_under_another_name(folder):
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


def test_a_checkpoint_that_cannot_be_read_is_not_taken_for_a_damaged_one(unreadable, folder):
    unreadable()
    with pytest.raises(
        UserError,
        match="ckpt-00000050.safetensors: .*; nothing was changed: fix that, or move the file away to resume without it$",
    ):
        folder.checkpoints.latest(validate_checkpoint)
    assert len(folder.checkpoints.paths()) == 2


def test_nor_is_one_of_another_version(folder):
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
    """A run's best policy so far, of the score 5."""
    (tmp_path / "best").mkdir()
    path = tmp_path / "best/policy.safetensors"
    save_arrays(path, {}, {"format": POLICY, "by": "EpRewMean", "score": 5.0})
    assert Best(tmp_path, "EpRewMean").score == 5.0
    return path


def test_nor_is_a_best_policy_whose_place_a_worse_one_would_take(unreadable, best):
    unreadable()
    for asks in (Best, lambda folder, _: acquire_run_directory(folder, Communicator(None), False, 3)):
        with pytest.raises(
            UserError,
            match="cannot read .*/best/policy.safetensors: .*; mend that, or move the file away to go on without it$",
        ):
            asks(best.parents[1], "EpRewMean")


def test_nor_is_a_best_policy_of_another_version_and_what_takes_a_damaged_ones_place_is_any(best):
    save_arrays(best, {}, {"format": f"{POLICY}.2", "by": "EpRewMean", "score": 5.0})
    with pytest.raises(
        UserError,
        match="another version of this package wrote it; mend that, or move the file away to go on without it$",
    ):
        Best(best.parents[1], "EpRewMean")
    for score in (None, "5"):
        save_arrays(best, {}, {"format": POLICY, "by": "EpRewMean", "score": score})
        assert Best(best.parents[1], "EpRewMean").score == -np.inf
    best.write_bytes(best.read_bytes()[:-1])
    assert Best(best.parents[1], "EpRewMean").score == -np.inf
    best.unlink()
    assert Best(best.parents[1], "EpRewMean").score == -np.inf


def test_a_folder_of_checkpoints_that_cannot_be_listed_is_not_an_empty_one(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(UserError, match="cannot read .*/checkpoints: Permission denied; nothing was changed"):
        folder.checkpoints.latest(validate_checkpoint)
