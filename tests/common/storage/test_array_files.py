"""Files of arrays: contents are read back bit-identical, and damaged or foreign files are refused."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from common.errors import UserError
from common.storage.array_files import check_arrays, load_arrays, save_arrays

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


def saved(directory, arrays=ARRAYS, metadata=METADATA):
    path = directory / "file.safetensors"
    save_arrays(path, arrays, metadata)
    return path


def refusal(path, expected_format=FORMAT):
    with pytest.raises(UserError) as error:
        load_arrays(path, expected_format)
    assert "\n" not in str(error.value) and path.name in str(error.value)
    return str(error.value)


def test_arrays_and_metadata_are_read_back_bit_identical(tmp_path):
    arrays, metadata = load_arrays(saved(tmp_path), FORMAT)
    assert metadata == METADATA
    assert arrays.keys() == ARRAYS.keys()
    for name, x in ARRAYS.items():
        assert arrays[name].dtype == x.dtype and arrays[name].shape == x.shape
        assert arrays[name].tobytes() == x.tobytes()


def test_loaded_arrays_can_be_written_to(tmp_path):
    load_arrays(saved(tmp_path), FORMAT)[0]["w"][0] = 1


def test_equal_contents_make_equal_files(tmp_path):
    first = saved(tmp_path).read_bytes()
    assert saved(tmp_path, dict(reversed(ARRAYS.items())), dict(METADATA)).read_bytes() == first


def test_a_file_truncated_anywhere_is_refused(tmp_path):
    path = saved(tmp_path)
    data = path.read_bytes()
    for length in range(0, len(data), 37):
        path.write_bytes(data[:length])
        refusal(path)


def test_a_flipped_bit_anywhere_is_refused(tmp_path):
    """Flips every bit of the header's length, and one bit in every seventh byte of the rest."""
    path = saved(tmp_path)
    data = path.read_bytes()
    positions = [(byte, bit) for byte in range(8) for bit in range(8)] + [
        (byte, byte % 8) for byte in range(8, len(data), 7)
    ]
    for byte, bit in positions:
        damaged = bytearray(data)
        damaged[byte] ^= 1 << bit
        path.write_bytes(damaged)
        refusal(path)


def test_extra_bytes_at_the_end_are_refused(tmp_path):
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes() + b"\0" * 8)
    refusal(path)


def test_another_format_is_refused_with_its_name(tmp_path):
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
def test_foreign_headers_are_refused(tmp_path, header):
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


def test_a_forged_dtype_is_refused(tmp_path):
    """The header names a type that NumPy does not have, then one with another meaning of the same bytes."""
    path = saved(tmp_path, {"w": np.zeros(4, np.int16)})
    path.write_bytes(path.read_bytes().replace(b'"I16"', b'"F99"'))
    refusal(path)
    path = saved(tmp_path, {"w": np.zeros(4, np.int16)})
    path.write_bytes(path.read_bytes().replace(b'"I16"', b'"F16"'))
    refusal(path)


def test_a_missing_file_and_a_directory_are_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "absent.safetensors")
    assert "directory" in refusal(tmp_path)


def test_matching_arrays_pass_the_check():
    check_arrays("here", ARRAYS, {name: np.zeros_like(x) for name, x in ARRAYS.items()})


@pytest.mark.parametrize(
    ("arrays", "difference"),
    [
        ({}, "missing arrays ['b', 'w']"),
        ({"w": np.zeros(2), "b": np.zeros(1), "x": np.zeros(1)}, "unexpected arrays ['x']"),
        ({"w": np.zeros(3), "b": np.zeros(1)}, "w is float64 (3,), expected float64 (2,)"),
        ({"w": np.zeros(2, np.float32), "b": np.zeros(1)}, "w is float32 (2,), expected float64 (2,)"),
    ],
)
def test_another_models_arrays_are_refused_with_the_difference(arrays, difference):
    with pytest.raises(UserError) as error:
        check_arrays("a/path", arrays, {"w": np.zeros(2), "b": np.zeros(1)})
    assert difference in str(error.value) and "a/path" in str(error.value) and "\n" not in str(error.value)


def test_threads_writing_one_file_at_once_leave_one_valid_file_and_no_other(tmp_path):
    def write(i):
        for _ in range(20):
            save_arrays(tmp_path / "x", {"x": np.full(10_000, i)}, METADATA)
            load_arrays(tmp_path / "x", FORMAT)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
