"""Demonstrations: what they accept, the one line that refuses the rest, files, and Minari data sets."""

import re
import sys

import gymnasium as gym
import numpy as np
import pytest

from baselines_ppo import DemonstrationRecorder, Demonstrations, UserError, load_demonstrations, save_demonstrations

N = 6
OB = gym.spaces.Box(-1, 1, (3,), np.float32)
AC = gym.spaces.Box(-2, 2, (1,), np.float32)
MIXED = gym.spaces.Dict(
    {"image": gym.spaces.Box(0, 255, (4, 4, 1), np.uint8), "rest": gym.spaces.Tuple([gym.spaces.Discrete(3), OB])}
)


def arrays(**changed):
    """The arrays of six steps in two episodes; a value of None leaves one out."""
    made = {
        "observations": np.zeros((N, 3), np.float32),
        "actions": np.zeros((N, 1), np.float32),
        "rewards": np.arange(N),
        "terminations": np.arange(N) == 2,
        "truncations": np.arange(N) == 5,
    } | changed
    return {name: x for name, x in made.items() if x is not None}


def test_episodes_and_their_returns():
    data = Demonstrations(**arrays())
    assert data.steps == 6 and data.has_returns
    assert data.starts.tolist() == [True, False, False, True, False, False]
    assert data.episode_returns().tolist() == [0 + 1 + 2, 3 + 4 + 5]


def test_rewards_and_ends_are_optional_together():
    assert not Demonstrations(**arrays(rewards=None, terminations=None, truncations=None)).has_returns


def test_arrays_get_the_structure_and_dtypes_of_the_space():
    rest = (np.array([0, 1, 2, 0, 1, 2], np.uint8), np.ones((N, 3)))
    data = Demonstrations({"image": np.full((N, 4, 4, 1), 7), "rest": rest}, np.zeros((N, 1)))
    assert sorted(data.entries) == ["actions", "observations/image", "observations/rest/0", "observations/rest/1"]
    batch = data.observations(MIXED)
    assert batch["image"].dtype == np.uint8 and batch["rest"][0].dtype == np.int64
    np.testing.assert_array_equal(batch["rest"][0], rest[0])
    assert batch["rest"][1].dtype == np.float32 and data.actions(AC).dtype == np.float32


@pytest.mark.parametrize(
    "changed, message",
    [
        (
            {"observations": np.zeros((N + 1, 3))},
            "observations has 7 rows for 6 actions; leave out what follows the last action",
        ),
        ({"rewards": np.zeros(4)}, "rewards has 4 rows for 6 actions; there must be one row per step"),
        (
            {"truncations": None},
            "truncations is missing, but rewards is there; rewards, terminations, truncations belong",
        ),
        ({"rewards": np.zeros((N, 1))}, "rewards has shape (6, 1); it must have (6,)"),
        ({"rewards": np.array([0, 1, np.nan, 3, 4, 5])}, "rewards is not finite in step 2; leave out that episode"),
        ({"terminations": np.arange(N)}, "terminations contains 2; it must be True where"),
        ({"actions": np.array([b"left"] * N)}, "actions has dtype |S4; it must be an array of numbers"),
        ({"actions": np.float32(3)}, "actions is a single number; it must be an array with one row per step"),
        ({"observations": {}}, "observations is missing; demonstrations need observations and actions"),
    ],
)
def test_invalid_arrays_are_refused(changed, message):
    with pytest.raises(UserError, match=f"^file.npz: {re.escape(message)}"):
        Demonstrations(**arrays(**changed), source="file.npz")


@pytest.mark.parametrize(
    "changed, space, message",
    [
        ({"observations": np.zeros((N, 4))}, OB, "observations has shape (6, 4); the environment's space Box("),
        ({"observations": np.full((N, 3), np.inf)}, OB, "observations is not finite in step 0"),
        ({"observations": {"a": np.zeros((N, 3))}}, OB, "observations is missing; the environment's space has it as"),
        ({}, MIXED, "observations/image is missing; the environment's space has it as Box("),
        (
            {"observations": np.full(N, 0.5)},
            gym.spaces.Discrete(2),
            "observations of dtype float64 with 0.5; it must be in Discrete",
        ),
        ({"observations": np.arange(N)}, gym.spaces.Discrete(5), "observations is 5 in step 5; it must be in Discr"),
        ({"observations": np.full((N, 2), -1)}, gym.spaces.MultiBinary(2), "observations is [-1, -1] in step 0"),
        (
            {"observations": np.full((N, 2), [1, 3])},
            gym.spaces.MultiDiscrete([2, 3]),
            "observations is [1, 3] in step 0",
        ),
    ],
)
def test_observations_that_are_not_of_the_space_are_refused(changed, space, message):
    data = Demonstrations(**arrays(**changed), source="file.npz")
    with pytest.raises(UserError, match=f"^file.npz: {re.escape(message)}"):
        data.observations(space)


def test_actions_out_of_range_are_refused_and_observations_out_of_range_are_not():
    data = Demonstrations(**arrays(observations=np.full((N, 3), 5.0), actions=np.arange(N)[:, None] / 2))
    data.observations(OB)
    with pytest.raises(UserError, match=r"actions is \[2.5\] in step 5; it must be in Box"):
        data.actions(AC)


def test_an_entry_that_the_space_does_not_have_is_refused():
    data = Demonstrations({"image": np.zeros((N, 3)), "other": np.zeros((N, 3))}, np.zeros((N, 1)))
    with pytest.raises(UserError, match="observations/image is not in the environment's space Dict"):
        data.observations(gym.spaces.Dict({"other": OB}))


def test_two_parts_with_one_name_are_refused():
    parts = {"a/b": np.zeros((4, 1)), "a": {"b": np.ones((4, 1))}}
    with pytest.raises(UserError, match="observations/a/b is the name of two parts; rename the key"):
        Demonstrations(parts, np.zeros(4, int))
    box = gym.spaces.Box(-1, 1, (1,))
    space = gym.spaces.Dict({"a/b": box, "a": gym.spaces.Dict({"b": box})})
    stored = Demonstrations.from_entries({"observations/a/b": np.zeros((4, 1)), "actions": np.zeros(4, int)})
    with pytest.raises(UserError, match="observations/a/b is the name of two parts of the environment's space"):
        stored.observations(space)


def test_one_step_is_too_few():
    with pytest.raises(UserError, match="has 1 steps; training and validation need at least 2"):
        Demonstrations(np.zeros((1, 3)), np.zeros((1, 1)))


# ---- episodes


def episode(steps, first, **changed):
    """An episode with one observation more than actions, whose observations count from `first`."""
    observations = first + np.arange(steps + 1)[:, None] * np.ones(3)
    made = {"observations": observations, "actions": np.zeros((steps, 1)), "rewards": np.ones(steps)}
    return made | {"terminations": np.zeros(steps, bool), "truncations": np.zeros(steps, bool)} | changed


def test_episodes_are_joined_without_their_last_observations():
    data = Demonstrations.from_episodes([episode(2, 0), episode(3, 10, terminations=np.array([0, 0, 1]))])
    assert data.entries["observations"][:, 0].tolist() == [0, 1, 10, 11, 12]
    assert data.entries["truncations"].tolist() == [False, True, False, False, False]
    assert data.entries["terminations"].tolist() == [False, False, False, False, True]


def test_episodes_that_do_not_fit_together_are_refused():
    with pytest.raises(UserError, match="has no episode"):
        Demonstrations.from_episodes([])
    with pytest.raises(UserError, match="episode 1 has other entries than episode 0"):
        Demonstrations.from_episodes([episode(2, 0), episode(2, 0, rewards=None)])
    with pytest.raises(UserError, match="arrays of different shapes"):
        Demonstrations.from_episodes([episode(2, 0), episode(2, 0, actions=np.zeros((2, 4)))])


def test_a_recorder_keeps_what_the_environment_got_and_returned():
    env = gym.make("CartPole-v1")
    recorder = DemonstrationRecorder(env)
    with pytest.raises(UserError, match="no step was recorded"):
        recorder.demonstrations()
    seen, actions = [recorder.reset(seed=3)[0]], [0, 1] * 20
    for action in actions:
        ob, _, terminated, _, _ = recorder.step(action)
        seen.append(ob)
        if terminated:
            break
    data = recorder.demonstrations()
    np.testing.assert_array_equal(data.entries["observations"], seen[:-1])
    assert data.entries["actions"].tolist() == actions[: data.steps]
    assert data.entries["terminations"].tolist() == [False] * (data.steps - 1) + [True]


# ---- files


def test_a_file_has_the_arrays_of_the_demonstrations(tmp_path):
    data = Demonstrations({"a": np.zeros((N, 2)), "b": (np.arange(N),)}, np.arange(N))
    save_demonstrations(tmp_path / "new" / "demo.npz", data)
    with np.load(tmp_path / "new" / "demo.npz") as file:
        assert sorted(file.files) == ["actions", "observations/a", "observations/b/0"]
    loaded = load_demonstrations(tmp_path / "new" / "demo.npz")
    assert loaded.source == str(tmp_path / "new" / "demo.npz")
    for name, x in data.entries.items():
        np.testing.assert_array_equal(loaded.entries[name], x)
    with pytest.raises(UserError, match="must end in .npz"):
        save_demonstrations(tmp_path / "demo.txt", data)


def test_unreadable_files_are_refused_with_one_line(tmp_path):
    cases = {"missing.npz": "cannot read .*: No such file", "text.npz": "is not a .npz file of arrays"}
    (tmp_path / "text.npz").write_text("not an archive")
    np.savez(tmp_path / "pickled.npz", observations=np.array([{}, []], object), actions=np.zeros(2))
    cases["pickled.npz"] = "is not a .npz file of arrays .*allow_pickle=False"
    np.savez(tmp_path / "other.npz", **arrays(), infos=np.zeros(N))
    cases["other.npz"] = "infos is not an entry of demonstrations; use observations, actions, rewards"
    for name, message in cases.items():
        with pytest.raises(UserError, match=message) as caught:
            load_demonstrations(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_larger_than_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "demo.npz", **arrays(observations=np.zeros((N, 300_000))))
    monkeypatch.setattr("common.runtime.memory.memory_limit", lambda: 10_000_000)
    with pytest.raises(UserError, match="demo.npz .*needs .*memory"):
        load_demonstrations(tmp_path / "demo.npz")


# ---- Minari


def test_minari_must_be_installed_for_its_data_sets(monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(UserError, match=r"needs the package minari: pip install 'baselines_ppo\[demonstrations\]'"):
        load_demonstrations("minari:some/data-v0")


@pytest.mark.filterwarnings("ignore::UserWarning:minari")  # a data set without author and description
@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
def test_a_minari_data_set_is_read_from_local_storage(data_format, tmp_path, monkeypatch):
    minari = pytest.importorskip("minari", reason="minari is not installed: pip install -e '.[demonstrations]'")
    pytest.importorskip({"hdf5": "h5py", "arrow": "pyarrow"}[data_format])
    from minari.data_collector import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    space = gym.spaces.Dict({"a": OB, "b": gym.spaces.Discrete(30)})
    buffers = [
        EpisodeBuffer(
            observations={"a": np.full((steps + 1, 3), 0.5, np.float32), "b": np.arange(steps + 1)},
            actions=np.linspace(-1, 1, steps, dtype=np.float32)[:, None],
            rewards=[1.0] * steps,
            terminations=[False] * (steps - 1) + [steps == 3],
            truncations=[False] * (steps - 1) + [steps == 4],
        )
        for steps in (3, 4)
    ]
    minari.create_dataset_from_buffers(
        "mine/two-v0", buffers, observation_space=space, action_space=AC, data_format=data_format
    )
    data = load_demonstrations("minari:mine/two-v0")
    assert data.source == "minari:mine/two-v0" and data.steps == 7
    assert data.observations(space)["b"].tolist() == [0, 1, 2, 0, 1, 2, 3]
    np.testing.assert_array_equal(data.actions(AC)[:3, 0], [-1, 0, 1])
    assert data.entries["terminations"].tolist() == [False, False, True, False, False, False, False]
    assert data.episode_returns().tolist() == [3, 4]
    with pytest.raises(UserError, match="^minari:mine/none-v0 is not on this machine; download it: minari download"):
        load_demonstrations("minari:mine/none-v0")
    (tmp_path / "mine" / "two-v0" / "data" / "metadata.json").write_text("{}")
    with pytest.raises(
        UserError, match="^minari:mine/two-v0 cannot be read .*; check the id, or download the data set"
    ):
        load_demonstrations("minari:mine/two-v0")
