"""Policies in files: every space and setting is restored, or refused before the first step."""

import inspect
import json

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from sample_env import BOX, TINY, TWO, LinearPolicy, SampleEnv, assert_same_state, small_mlp

from baselines_ppo import MlpPolicy, UserError, learn, load_policy
from baselines_ppo.train.resume import check_compatible
from common.policies.files import check_serializable, read_policy
from common.policies.space_comparison import check_spaces
from common.runs.checkpoint_store import Checkpoint

pytestmark = pytest.mark.usefixtures("uncompiled_here")


# ---- spaces


@pytest.mark.parametrize(
    "ob_space, ac_space",
    [
        (gym.spaces.Discrete(4, dtype=np.int32), gym.spaces.MultiDiscrete([3, 2], dtype=np.int32)),
        (gym.spaces.Dict({0: BOX, 1: gym.spaces.Discrete(3)}), gym.spaces.Discrete(3, start=1, dtype=np.int16)),
        (
            gym.spaces.Dict([(1, BOX), ("1", gym.spaces.MultiDiscrete([2, 2], dtype=np.uint8)), ((0, 1), BOX)]),
            gym.spaces.MultiBinary(2),
        ),
    ],
    ids=["dtypes", "int keys", "keys of several types"],
)
def test_a_policy_of_any_space_is_restored_from_its_run(ob_space, ac_space, tmp_path):
    env = SampleEnv(ob_space, ac_space)
    pi = learn(env, small_mlp, run_dir=tmp_path / "run", checkpoint_every=1, **TINY)
    for path in (tmp_path / "run", tmp_path / "run/checkpoints/ckpt-00000001.safetensors"):
        loaded = load_policy(path)
        check_spaces(path, loaded, ob_space, ac_space, "the environment")
        ob = ob_space.sample()
        np.testing.assert_array_equal(loaded.act(False, ob)[0], pi.act(False, ob)[0])
    again = learn(env, small_mlp, load_path=tmp_path / "run", **TINY | {"optim_stepsize": 1e-12})
    # two steps of Adam of at most 1e-12 each
    np.testing.assert_allclose(again.weights["pol/fc1/w"], pi.weights["pol/fc1/w"], atol=1e-9)


def test_files_without_dtypes_fit_the_same_environment(tmp_path):
    ac_space = gym.spaces.MultiDiscrete([3, 2], dtype=np.int32)
    pi = small_mlp("pi", gym.spaces.Discrete(4, dtype=np.int32), ac_space)
    spec = pi.spec()
    for key in ("ob_space", "ac_space"):
        del spec[key]["dtype"]
    pi.spec = lambda: spec
    pi.save(tmp_path / "old")
    check_spaces("old", load_policy(tmp_path / "old"), pi.ob_space, ac_space, "the environment")
    arrays = {f"pi/{name}": x for name, x in pi.state().items()}
    metadata = {"logs": [{}], "policy": json.loads(json.dumps(spec))}
    check_compatible(Checkpoint(arrays, metadata, tmp_path / "old"), pi, 1)


def test_an_error_names_the_difference_of_two_spaces():
    pi = small_mlp("pi", BOX, gym.spaces.MultiDiscrete([2] * 200))
    with pytest.raises(UserError, match=r"actions differ, nvec\[199\] 2 and 3"):
        check_spaces("p", pi, BOX, gym.spaces.MultiDiscrete([2] * 199 + [3]), "env")


@pytest.mark.parametrize(
    "ob_space, part",
    [
        (gym.spaces.Dict(a=BOX, t=gym.spaces.Text(3)), "because of its part Text"),
        (gym.spaces.Dict(a=BOX, b=gym.spaces.Dict({})), "because of its part Dict()"),
        (gym.spaces.Dict(a=BOX, o=gym.spaces.OneOf([BOX, BOX])), "because of its part OneOf"),
        (gym.spaces.Dict({b"a": BOX}), "the key b'a' of a Dict"),
        (gym.spaces.Tuple([gym.spaces.Discrete(2)] * 1001), "more than 1,000 parts"),
        (gym.spaces.Box(-1, 1, (2,), np.longdouble), "use float64"),
        (
            gym.spaces.Box(np.linspace(-2, -1, 80_000), np.linspace(1, 2, 80_000), dtype=np.float64),
            "use spaces whose bounds are the same everywhere",
        ),
    ],
    ids=["Text inside", "empty part", "OneOf inside", "bytes key", "many parts", "longdouble", "long bounds"],
)
def test_spaces_that_files_do_not_support_are_refused_before_the_first_step(ob_space, part, tmp_path):
    with pytest.raises(UserError) as error:
        learn(SampleEnv(ob_space), small_mlp, run_dir=tmp_path / "run", **TINY)
    assert part in str(error.value) and "\n" not in str(error.value) and not (tmp_path / "run").exists()


# ---- settings


def test_numpy_numbers_in_settings_become_python_numbers(tmp_path):
    settings = {
        "ob_clip": np.float32(5),
        "init_logstd": np.float64(0.5),
        "gaussian_fixed_var": np.True_,
        "ob_min_std": np.float32(0.25),
        "normalise_ob": np.True_,
        "num_hid_layers": np.int64(1),
        "shared_trunk": np.False_,
    }
    learn(
        SampleEnv(),
        lambda *spaces: small_mlp(*spaces, **settings),
        run_dir=tmp_path / "run",
        checkpoint_every=np.int64(1),
        **TINY,
    )
    written = json.loads((tmp_path / "run/config.json").read_text())["settings"]["policy_settings"]
    loaded = load_policy(tmp_path / "run").settings()
    for name, x in settings.items():
        assert loaded[name] == written[name] == x and type(loaded[name]) in (bool, int, float)


def test_extra_metadata_may_be_numpy_values_and_errors_name_invalid_values(tmp_path):
    pi = small_mlp("pi", BOX, TWO)
    pi.save(tmp_path / "p", score=np.float32(1.5), scores=np.arange(3), best=tf.constant(2.0), by_seed={10: 1, 2: 2})
    assert (
        read_policy(tmp_path / "p")[1].items()
        >= {"score": 1.5, "scores": [0, 1, 2], "best": 2.0, "by_seed": {"10": 1, "2": 2}}.items()
    )
    for extra, part in (({"f": print}, "f="), ({"settings": 3}, "reserved"), ({"seen": {1, 2}}, "of type set")):
        with pytest.raises(UserError, match=part):
            pi.save(tmp_path / "q", **extra)
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize(
    "extra, found",
    [(np.float32(2), 2.0), (np.arange(2), [0, 1]), (tf.constant(1.5), 1.5), ({"a": (1, 2)}, {"a": [1, 2]})],
    ids=str,
)
def test_settings_of_a_custom_class_become_python_values(extra, found, tmp_path):
    learn(SampleEnv(), lambda *spaces: LinearPolicy(*spaces, extra=extra), **TINY).save(tmp_path / "p")
    assert LinearPolicy.load(tmp_path / "p").settings() == {"extra": found}


@pytest.mark.parametrize(
    "extra, part",
    [(tf.nn.relu, "LinearPolicy.settings(): extra=<function relu"), ({1: 2}, "has the key 1")],
    ids=["function", "int key"],
)
def test_settings_that_json_cannot_represent_are_named_before_the_first_step(extra, part):
    with pytest.raises(UserError) as error:
        learn(SampleEnv(), lambda *spaces: LinearPolicy(*spaces, extra=extra), **TINY)
    assert part in str(error.value)


class FixedSettingsPolicy(MlpPolicy):
    """Fixes a setting of its base class."""

    clip = 3

    def __init__(self, name, ob_space, ac_space):
        super().__init__(name, ob_space, ac_space, hid_size=5, ob_clip=self.clip)


def test_a_derived_class_with_fixed_settings_loads_until_they_change(tmp_path, monkeypatch):
    pi = FixedSettingsPolicy("pi", BOX, TWO)
    pi.save(tmp_path / "p")
    assert_same_state(FixedSettingsPolicy.load(tmp_path / "p"), pi)
    monkeypatch.setattr(FixedSettingsPolicy, "clip", 4)
    with pytest.raises(UserError, match="ob_clip is 3.0, but the class fixes it at 4.0"):
        FixedSettingsPolicy.load(tmp_path / "p")


def test_a_class_that_load_cannot_build_causes_a_warning(caplog):
    class NeedsWidth(LinearPolicy):
        def __init__(self, name, ob_space, ac_space, width):
            super().__init__(name, ob_space, ac_space)

    check_serializable(NeedsWidth("pi", BOX, TWO, 3))
    assert "NeedsWidth.load will not be able to build this policy again: its constructor requires width" in caplog.text
    caplog.clear()
    check_serializable(LinearPolicy("pi", BOX, TWO))
    assert not caplog.text


def test_a_policy_class_has_the_signature_of_its_constructor():
    assert list(inspect.signature(MlpPolicy).parameters)[:4] == ["name", "ob_space", "ac_space", "hid_size"]
