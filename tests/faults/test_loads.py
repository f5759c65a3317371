"""Corrupt, foreign and forged policies are refused in one line before anything is built, even with a correct hash."""

import json
import os
import pickle

import forged
import gymnasium as gym
import numpy as np
import pytest

from baselines_ppo import CnnPolicy, MlpPolicy, Policy
from baselines_ppo.play.policy_env import env_named_in, load_policy_and_env
from baselines_ppo.policy_registry import load_policy
from common.policies.space_serialization import from_json
from common.storage.array_files import load_arrays

OB, AC = gym.spaces.Box(-8, 8, (3,)), gym.spaces.Box(-2, 2, (1,))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "policy.safetensors"
    MlpPolicy("pi", OB, AC, hid_size=8).save(path, env="Pendulum-v1")
    return path


def put(*keys, value):
    """Return a change that sets a nested value of the metadata."""

    def change(arrays, metadata):
        for key in keys[:-1]:
            metadata = metadata[key]
        metadata[keys[-1]] = value

    return change


def remove(key):
    return lambda arrays, metadata: metadata.pop(key)


def nested(levels, leaf):
    for _ in range(levels):
        leaf = {"kind": "Tuple", "spaces": [leaf]}
    return leaf


BOX = {"kind": "Box", "shape": [3], "dtype": "float32", "low": -8.0, "high": 8.0}
DISCRETE = {"kind": "Discrete", "n": 2, "start": 0}
FORGERIES = {
    "of 10^9 units": (put("settings", "hid_size", value=10**9), ["is inconsistent", "1000000000"]),
    "of a million layers": (put("settings", "num_hid_layers", value=10**6), ["num_hid_layers=1000000", "1,000"]),
    "of another width": (put("settings", "hid_size", value=9), ["(3, 8)", "(3, 9)"]),
    "of another depth": (put("settings", "num_hid_layers", value=3), ["fc3", "is missing"]),
    "of no units": (put("settings", "hid_size", value=-1), ["hid_size=-1"]),
    "of 8.0 units": (put("settings", "hid_size", value=8.0), ["hid_size=8.0", "must be an integer"]),
    "of True units": (put("settings", "hid_size", value=True), ["hid_size=True", "must be an integer"]),
    "of text": (put("settings", "hid_size", value="8\n\x1b[2J"), ["hid_size='8\\n"]),
    "a log std of NaN": (put("settings", "init_logstd", value=float("nan")), ["init_logstd=nan"]),
    "an infinite log std": (put("settings", "init_logstd", value=float("inf")), ["init_logstd=inf"]),
    "an int beyond floats": (put("settings", "ob_clip", value=10**400), ["ob_clip=1000"]),
    "a bool that is 1": (put("settings", "normalise_ob", value=1), ["normalise_ob=1"]),
    "an init of another version": (put("settings", "init", value=["normc"]), ["init=['normc']", "orthogonal"]),
    "a setting of another version": (
        put("settings", "dropout", value=0.1),
        ["does not match its class MlpPolicy", "dropout"],
    ),
    "a setting that is an argument": (put("settings", "ob_space", value=1), ["has no valid description"]),
    "settings that are a list": (put("settings", value=[1]), ["has no valid description"]),
    "no settings": (remove("settings"), ["has no valid description", "settings"]),
    "an unknown class": (put("class", value="Evil"), ["holds a Evil"]),
    "a class that is a list": (put("class", value=[["\x1b[31m"]]), ["holds a [['\\x1b[31m']]"]),
    "the other class": (put("class", value="CnnPolicy"), ["images"]),
    "no class": (remove("class"), ["holds a None"]),
    "another version of the format": (
        put("format", value="baselines_ppo.policy.2"),
        ["another version of this package"],
    ),
    "no format": (remove("format"), ["is a None"]),
    "another environment's observations": (put("ob_space", value=BOX | {"shape": [4]}), ["(3, 8)", "(4, 8)"]),
    "another environment's actions": (put("ac_space", value=DISCRETE), ["pol/final/w", "pol/final/b", "logstd"][:1]),
    "10^12 entries": (put("ob_space", value=BOX | {"shape": [10**6, 10**6]}), ["1000000000000 entries", "1,000,000"]),
    "10^12 entries in parts": (
        put("ob_space", value={"kind": "Tuple", "spaces": [BOX | {"shape": [10**6]}] * 900}),
        ["900000000 entries"],
    ),
    "10^12 places": (put("ob_space", value=DISCRETE | {"n": 10**12}), ["1000000000000 entries"]),
    "10^12 actions": (put("ac_space", value=DISCRETE | {"n": 10**12}), ["1000000000000 entries"]),
    "actions beyond 32 bits": (put("ac_space", value=DISCRETE | {"start": 2**40}), ["32 bits"]),
    "100,000 factors": (
        put("ac_space", value={"kind": "MultiDiscrete", "nvec": [2] * 10**5, "start": [0] * 10**5}),
        ["100,000 parts"],
    ),
    "5,000 parts": (
        put("ob_space", value={"kind": "Tuple", "spaces": [DISCRETE] * 5000}),
        ["invalid description of a space"],
    ),
    "spaces in spaces": (put("ob_space", value=nested(100, BOX)), ["invalid description of a space"]),
    "a shape below 0": (put("ob_space", value=BOX | {"shape": [-3]}), ["shape=-3"]),
    "a shape of rank 60": (put("ob_space", value=BOX | {"shape": [1] * 60}), ["invalid description of a space"]),
    "a shape of 0 times much": (put("ob_space", value=BOX | {"shape": [0, 2**62]}), ["policy.safetensors"]),
    "a type of objects": (put("ob_space", value=BOX | {"dtype": "O"}), ["invalid description of a space"]),
    "a type of many numbers": (
        put("ob_space", value=BOX | {"dtype": "(1000000,1000)f4"}),
        ["invalid description of a space"],
    ),
    "a type of much text": (put("ob_space", value=BOX | {"dtype": "S1000000000"}), ["invalid description of a space"]),
    "bounds of text": (put("ob_space", value=BOX | {"low": "-8"}), ["invalid description of a space"]),
    "bounds of NaN": (put("ob_space", value=BOX | {"low": float("nan")}), ["invalid description of a space"]),
    "a space that is text": (put("ob_space", value="Box\n"), ["invalid description of a space", "'Box\\n'"]),
    "no space": (remove("ac_space"), ["has no valid description", "ac_space"]),
}


@pytest.mark.parametrize("case", FORGERIES)
def test_a_forged_policy_is_refused_before_it_is_built(case, saved, tmp_path):
    change, parts = FORGERIES[case]
    path = forged.forge(saved, change, tmp_path / "policy.safetensors")
    with forged.refused(str(path), *parts):
        load_policy(path)


@pytest.mark.parametrize(
    "name, x",
    [
        ("000/pol/fc1/b", np.zeros(9, np.float32)),
        ("000/pol/fc1/b", np.zeros(8)),
        ("ob_rms/mean", np.zeros(4)),
        ("ob_rms/var", -np.ones(3)),
        ("../../../etc/passwd", np.zeros(1)),
        ("x\n" * 10**5, np.zeros(1, np.float32)),
        ("ob_rms/count", np.float64([np.nan])),
    ],
)
def test_arrays_of_another_shape_type_or_name_are_refused(name, x, saved, tmp_path):
    path = forged.forge(saved, lambda arrays, metadata: arrays.update({name: x}), tmp_path / "policy.safetensors")
    with forged.refused(str(path)):
        load_policy(path)


def test_a_description_of_images_takes_no_more_memory_than_its_file(tmp_path):
    path = tmp_path / "policy.safetensors"
    CnnPolicy("pi", gym.spaces.Box(0, 255, (36, 36, 1), np.uint8), gym.spaces.Discrete(2), kind="small").save(path)
    for shape in ([10**5, 10**5, 1], [3000, 3000, 1], [20, 20, 1]):
        with forged.refused("forged.safetensors"):
            load_policy(forged.forge(path, put("ob_space", "shape", value=shape), tmp_path / "forged.safetensors"))


def raw(header, data=b""):
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return len(text).to_bytes(8, "little") + text + data


def header_of_one_array(dtype, shape, offsets):
    inner = json.dumps({"metadata": {"format": "baselines_ppo.policy"}, "sha256": ""})
    return {"__metadata__": {"baselines_ppo": inner}, "w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


class Evil:
    def __reduce__(self):
        return os.system, ("touch EVIL",)


FILES = {
    "a pickle": pickle.dumps(Evil()),
    "a zip": b"PK\x03\x04" + bytes(500),
    "deep JSON": raw(b"[" * 10**6),
    "deep objects": raw(b'{"a":' * 10**5),
    "a huge int": raw(b'{"__metadata__": ' + b"9" * 10**5 + b"}"),
    "an array of 2^60": raw(header_of_one_array("F32", [2**60], [0, 4])),
    "none times 2^64": raw(header_of_one_array("F32", [0, 2**64 - 1], [0, 0])),
    "offsets below 0": raw(header_of_one_array("F32", [1], [-4, 0])),
    "a shape below 0": raw(header_of_one_array("F32", [-1], [0, 4])),
    "a wide offset": raw(header_of_one_array("F32", [1], [0, 2**63]), bytes(4)),
    "a type of a later version": raw(header_of_one_array("F8_E4M3", [4], [0, 4]), bytes(4)),
    "rank 1000": raw(header_of_one_array("F32", [1] * 1000, [0, 4]), bytes(4)),
    "a header as long as 2^63": (2**63).to_bytes(8, "little") + bytes(99),
}


@pytest.mark.parametrize("case", FILES)
def test_files_made_to_attack_are_refused(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "policy.safetensors"
    path.write_bytes(FILES[case])
    with forged.refused(str(path)):
        load_policy(path)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_sparse_file_beyond_memory_is_refused_unread(tmp_path):
    path = tmp_path / "policy.safetensors"
    with path.open("wb") as file:
        file.truncate(1 << 42)
    with forged.refused(str(path), "4,398,046,511,104 bytes", "memory"):
        load_policy(path)


def test_pipes_and_devices_are_refused(tmp_path):
    os.mkfifo(tmp_path / "policy.safetensors")
    for path in (tmp_path / "policy.safetensors", "/dev/zero"):
        with forged.refused(str(path), "device or a pipe"):
            load_policy(path)


class FailingPolicy(Policy):
    def __init__(self, name, ob_space, ac_space, width=3):
        super().__init__(name, ob_space, ac_space)
        raise MemoryError if width == 4 else RuntimeError("a\nb")


def test_a_custom_class_that_cannot_be_built_is_named_with_the_reason(saved, tmp_path):
    for width, reason in ((3, "RuntimeError: 'a\\nb'"), (4, "MemoryError")):
        own = {"class": "FailingPolicy", "settings": {"width": width}}
        path = forged.forge(
            saved, lambda arrays, metadata, own=own: metadata.update(own), tmp_path / "policy.safetensors"
        )
        with forged.refused(str(path), "FailingPolicy", reason):
            FailingPolicy.load(path)


def test_a_policy_file_cannot_cause_an_import(saved, tmp_path):
    path = forged.forge(saved, put("env", value="odd_envs:Nan-v0"), tmp_path / "policy.safetensors")
    with forged.refused("odd_envs:Nan-v0", "--env"):
        load_policy_and_env(path)
    assert env_named_in({"env": "odd_envs:Nan-v0"}, path, tmp_path) == "odd_envs:Nan-v0"  # a run directory may


@pytest.mark.parametrize(
    "change, parts",
    [
        (put("env", value=["x"]), ["['x']"]),
        (put("env", value=""), ["unknown environment ''"]),
        (put("env", value="..x:Y-v0\0"), ["--env"]),
        (put("env_kwargs", value=[1]), ["[1]", "--env-kwargs"]),
        (put("env_kwargs", value={"gravity": "x"}), ["cannot make Pendulum-v1"]),
        (put("env", value="CartPole-v1"), ["was trained for"]),
    ],
)
def test_the_environment_of_a_policy_is_checked(change, parts, saved, tmp_path):
    path = forged.forge(saved, change, tmp_path / "policy.safetensors")
    with forged.refused(*parts):
        load_policy_and_env(path)


def test_the_unchanged_file_loads(saved, tmp_path):
    """A forgery that changes nothing: the tests above are refused because of their changes."""
    path = forged.forge(saved, lambda arrays, metadata: None, tmp_path / "policy.safetensors")
    assert path.read_bytes() == saved.read_bytes()
    arrays = load_arrays(path, "baselines_ppo.policy")[0]
    state = load_policy(path).state()
    assert arrays.keys() == state.keys() and all((arrays[name] == state[name]).all() for name in arrays)
    assert from_json(BOX) == gym.spaces.Box(-8, 8, (3,))


def test_an_invalid_path_is_refused():
    with forged.refused("x" * 300, "File name too long"):
        load_policy("x" * 300)
