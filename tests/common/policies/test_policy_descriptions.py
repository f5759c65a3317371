"""What trains is saved, loaded and copied, or refused before the first step: spaces, settings, weights that `policy_fn` brings."""

import copy
import inspect
import json
import pickle

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from baselines_ppo import CnnPolicy, MlpPolicy, UserError, learn, load_policy, trpo_mpi, vpg
from baselines_ppo.train.resume import check_compatible
from common.policies.base import Policy
from common.policies.files import check_serializable, read_policy
from common.policies.space_comparison import check_spaces

BOX, TWO = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(2)
TINY = {"timesteps_per_actorbatch": 32, "optim_batchsize": 16, "optim_epochs": 1, "max_iters": 1, "seed": 0}
pytestmark = pytest.mark.usefixtures("uncompiled_here")


class Sampled(gym.Env):
    """Observes samples of its space, in episodes of ten steps."""

    def __init__(self, ob_space=BOX, ac_space=TWO):
        self.observation_space, self.action_space = ob_space, ac_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert action in self.action_space
        self.t += 1
        return self.observation_space.sample(), 1.0, False, self.t >= 10, {}


def small(name, ob_space, ac_space, **settings):
    return MlpPolicy(name, ob_space, ac_space, hid_size=4, **settings)


def assert_same_state(a, b):
    assert a.state().keys() == b.state().keys()
    for name, x in a.state().items():
        np.testing.assert_array_equal(b.state()[name], x, err_msg=name)


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
def test_a_policy_of_any_space_comes_back_from_its_run(ob_space, ac_space, tmp_path):
    env = Sampled(ob_space, ac_space)
    pi = learn(env, small, run_dir=tmp_path / "run", checkpoint_every=1, **TINY)
    for path in (tmp_path / "run", tmp_path / "run/checkpoints/ckpt-00000001.safetensors"):
        loaded = load_policy(path)
        check_spaces(path, loaded, ob_space, ac_space, "the environment")
        ob = ob_space.sample()
        np.testing.assert_array_equal(loaded.act(False, ob)[0], pi.act(False, ob)[0])
    again = learn(env, small, load_path=tmp_path / "run", **TINY | {"optim_stepsize": 1e-12})
    np.testing.assert_allclose(
        again.weights["pol/fc1/w"], pi.weights["pol/fc1/w"], atol=1e-9
    )  # two steps of Adam, each of 1e-12 at the most


def test_files_of_before_dtypes_were_written_are_taken_for_the_same_environment(tmp_path):
    ac_space = gym.spaces.MultiDiscrete([3, 2], dtype=np.int32)
    pi = small("pi", gym.spaces.Discrete(4, dtype=np.int32), ac_space)
    described = pi.spec()
    for key in ("ob_space", "ac_space"):
        del described[key]["dtype"]
    pi.spec = lambda: described
    pi.save(tmp_path / "old")
    check_spaces("old", load_policy(tmp_path / "old"), pi.ob_space, ac_space, "the environment")
    check_compatible(
        (
            {f"pi/{name}": x for name, x in pi.state().items()},
            {"logs": [{}], "policy": json.loads(json.dumps(described))},
            "old",
        ),
        pi,
        1,
    )


def test_two_spaces_that_differ_are_told_with_their_difference():
    pi = small("pi", BOX, gym.spaces.MultiDiscrete([2] * 200))
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
def test_what_no_file_could_hold_is_refused_before_the_first_step(ob_space, part, tmp_path):
    with pytest.raises(UserError) as error:
        learn(Sampled(ob_space), small, run_dir=tmp_path / "run", **TINY)
    assert part in str(error.value) and "\n" not in str(error.value) and not (tmp_path / "run").exists()


# ---- settings


def test_numpys_numbers_in_settings_are_pythons(tmp_path):
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
        Sampled(),
        lambda *spaces: small(*spaces, **settings),
        run_dir=tmp_path / "run",
        checkpoint_every=np.int64(1),
        **TINY,
    )
    written = json.loads((tmp_path / "run/config.json").read_text())["settings"]["policy_settings"]
    loaded = load_policy(tmp_path / "run").settings()
    for name, x in settings.items():
        assert loaded[name] == written[name] == x and type(loaded[name]) in (bool, int, float)


def test_extra_metadata_may_be_numpys_and_what_cannot_be_written_is_named(tmp_path):
    pi = small("pi", BOX, TWO)
    pi.save(tmp_path / "p", score=np.float32(1.5), scores=np.arange(3), best=tf.constant(2.0), by_seed={10: 1, 2: 2})
    assert (
        read_policy(tmp_path / "p")[1].items()
        >= {"score": 1.5, "scores": [0, 1, 2], "best": 2.0, "by_seed": {"10": 1, "2": 2}}.items()
    )
    for extra, part in (({"f": print}, "f="), ({"settings": 3}, "reserved"), ({"seen": {1, 2}}, "of type set")):
        with pytest.raises(UserError, match=part):
            pi.save(tmp_path / "q", **extra)
    assert not (tmp_path / "q").exists()


class Linear(Policy):
    """A user's own, with a setting of any kind."""

    def __init__(self, name, ob_space, ac_space, extra=None):
        super().__init__(name, ob_space, ac_space, keep_images=False)
        self.extra = extra
        self.w = tf.Variable(tf.zeros([self.encoder.shape[0], self.pdtype.param_shape()[0] + 1]))

    def settings(self):
        return {"extra": self.extra}

    def forward(self, ob):
        y = tf.matmul(tf.cast(ob, tf.float32), self.w)
        return y[:, :-1], y[:, -1]


@pytest.mark.parametrize(
    "extra, found",
    [(np.float32(2), 2.0), (np.arange(2), [0, 1]), (tf.constant(1.5), 1.5), ({"a": (1, 2)}, {"a": [1, 2]})],
    ids=str,
)
def test_settings_of_a_class_of_ones_own_are_numbers_too(extra, found, tmp_path):
    learn(Sampled(), lambda *spaces: Linear(*spaces, extra=extra), **TINY).save(tmp_path / "p")
    assert Linear.load(tmp_path / "p").settings() == {"extra": found}


@pytest.mark.parametrize(
    "extra, part",
    [(tf.nn.relu, "Linear.settings(): extra=<function relu"), ({1: 2}, "has the key 1")],
    ids=["function", "int key"],
)
def test_settings_that_json_has_no_form_for_are_named_before_the_first_step(extra, part):
    with pytest.raises(UserError) as error:
        learn(Sampled(), lambda *spaces: Linear(*spaces, extra=extra), **TINY)
    assert part in str(error.value)


class Five(MlpPolicy):
    """Chooses a setting of its base's itself."""

    clip = 3

    def __init__(self, name, ob_space, ac_space):
        super().__init__(name, ob_space, ac_space, hid_size=5, ob_clip=self.clip)


def test_a_derived_class_that_chooses_its_settings_is_loaded_and_refused_if_it_chooses_others_now(
    tmp_path, monkeypatch
):
    pi = Five("pi", BOX, TWO)
    pi.save(tmp_path / "p")
    assert_same_state(Five.load(tmp_path / "p"), pi)
    monkeypatch.setattr(Five, "clip", 4)
    with pytest.raises(UserError, match="ob_clip is 3.0, but the class fixes it at 4.0"):
        Five.load(tmp_path / "p")


def test_a_class_that_load_cannot_build_is_told_at_the_start(caplog):
    class Needs(Linear):
        def __init__(self, name, ob_space, ac_space, width):
            super().__init__(name, ob_space, ac_space)

    check_serializable(Needs("pi", BOX, TWO, 3))
    assert "Needs.load will not be able to build this policy again: its constructor requires width" in caplog.text
    caplog.clear()
    check_serializable(Linear("pi", BOX, TWO))
    assert not caplog.text


def test_a_policys_signature_is_its_constructors():
    assert list(inspect.signature(MlpPolicy).parameters)[:4] == ["name", "ob_space", "ac_space", "hid_size"]


# ---- what policy_fn brings


@pytest.fixture
def trained(tmp_path):
    """The file of a policy that has been trained."""
    pi = learn(Sampled(), small, **TINY | {"seed": 5})
    pi.save(tmp_path / "trained")
    return tmp_path / "trained"


def by_hand(path):
    def policy_fn(*spaces):
        pi = small(*spaces)
        for v, x in zip(pi.get_variables(), load_policy(path).get_variables()):
            v.assign(x)
        return pi

    return policy_fn


def once(path):
    pi = load_policy(path)
    return lambda *spaces: pi


LEARN = {
    "ppo": lambda policy_fn: learn(Sampled(), policy_fn, **TINY | {"optim_stepsize": 1e-12}),
    "trpo": lambda policy_fn: trpo_mpi.learn(
        Sampled(), policy_fn, timesteps_per_batch=32, max_iters=1, max_kl=1e-20, vf_iters=0, seed=0
    ),
    "vpg": lambda policy_fn: vpg.learn(
        Sampled(),
        policy_fn,
        timesteps_per_actorbatch=32,
        max_iters=1,
        optim_stepsize=1e-12,
        vf_stepsize=1e-12,
        seed=0,
        vf_batchsize=16,
    ),
}


def each_time(path):
    return lambda *spaces: load_policy(path)


@pytest.mark.parametrize(
    "alg, bring",
    [("ppo", once), ("ppo", each_time), ("ppo", by_hand), ("trpo", once), ("vpg", once)],
    ids=["an object", "loaded at each call", "assigned by hand", "trpo", "vpg"],
)
def test_weights_that_policy_fn_brings_stay(alg, bring, trained):
    pi, before = LEARN[alg](bring(trained)), load_policy(trained)
    for v, x in zip(pi.get_variables(), before.get_variables()):
        np.testing.assert_allclose(v, x, atol=1e-7)  # steps of 1e-12, or of a KL of 1e-20
    assert pi.ob_rms.count >= 32 + (0 if bring is by_hand else before.ob_rms.count)


def test_the_callers_object_is_pi_and_goes_on_from_one_learn_to_the_next(trained):
    mine = load_policy(trained)
    assert [learn(Sampled(), lambda *spaces: mine, **TINY).ob_rms.count for _ in range(2)] == [64, 96]
    before = mine.state()
    learn(Sampled(), lambda name, *spaces: mine if name == "oldpi" else small(name, *spaces), **TINY)
    for name, x in before.items():
        np.testing.assert_array_equal(mine.state()[name], x)


def test_a_new_policys_weights_are_the_seeds_whatever_policy_fn_made_of_them():
    """A policy that policy_fn makes is drawn from the seed, as one that nothing has touched since it was made."""
    untouched = small("pi", BOX, TWO)
    assert_same_state(learn(Sampled(), lambda *spaces: untouched, **TINY), learn(Sampled(), small, **TINY))


def test_a_policy_for_other_spaces_is_refused(trained):
    with pytest.raises(
        UserError,
        match="policy_fn returned a policy for observations Box.*build it with the spaces that policy_fn is given",
    ):
        learn(Sampled(gym.spaces.Box(-1, 1, (3,))), once(trained), **TINY)


# ---- copies

LOAD_MEMORY_FACTOR = {"deepcopy": copy.deepcopy, "copy": copy.copy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


@pytest.fixture(scope="module")
def has_acted():
    """A policy that has been trained, so that its observation filter knows the ranks, and has acted."""
    pi = learn(Sampled(), small, **TINY)
    pi.act(True, np.float32([0.1, -0.2]))
    return pi


@pytest.mark.parametrize("how", LOAD_MEMORY_FACTOR)
def test_a_copy_of_a_policy_is_independent(how, has_acted):
    pi, ob = has_acted, np.float32([0.1, -0.2])
    found, before = LOAD_MEMORY_FACTOR[how](pi), pi.state()
    assert_same_state(found, pi)
    np.testing.assert_array_equal(found.pd(ob).flatparam(), pi.pd(ob).flatparam())
    found.initialise(np.random.default_rng(7))
    found.ob_rms.update(np.ones((3, 2)))
    assert found.act(False, ob)[1] != pi.act(False, ob)[1] and found.ob_rms.count == pi.ob_rms.count + 3
    for name, x in before.items():
        np.testing.assert_array_equal(pi.state()[name], x)


@pytest.mark.parametrize("how", LOAD_MEMORY_FACTOR)
def test_what_a_policy_is_made_of_is_copied_too(how):
    image = gym.spaces.Box(0, 255, (20, 20, 1), np.uint8)
    cnn, own = CnnPolicy("pi", image, TWO, kind="small"), Linear("pi", BOX, TWO, extra=[1])
    for pi, ob in ((cnn, image.sample()), (own, BOX.sample())):
        value = pi.act(False, ob)[1]
        assert (
            LOAD_MEMORY_FACTOR[how](pi).act(False, ob)[1] == value
            and LOAD_MEMORY_FACTOR[how](pi.get_variables()).policy.act(False, ob)[1] == value
        )
    for space in (BOX, TWO, gym.spaces.MultiDiscrete([3, 2]), gym.spaces.MultiBinary(3)):
        pd = small("pi", BOX, space).pd(BOX.sample())
        np.testing.assert_array_equal(LOAD_MEMORY_FACTOR[how](pd).entropy(), pd.entropy())
        assert LOAD_MEMORY_FACTOR[how](pd.pdtype).param_shape() == pd.pdtype.param_shape()
