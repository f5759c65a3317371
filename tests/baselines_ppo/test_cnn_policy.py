"""CnnPolicy: what it takes, that it sees, and that what it learned survives a file."""

import csv
import functools
import json

import exact_networks
import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from jobs import RUN, run
from tolerance import ulps

from baselines_ppo import CnnPolicy, MlpPolicy, Policy, learn, pposgd_simple
from baselines_ppo.policy_registry import load_policy
from common.errors import UserError
from common.policies.files import FORMAT
from common.rollouts.processor import SegmentProcessor
from common.rollouts.segment import network_inputs
from common.storage.array_files import save_arrays
from common.vec_env.in_process import InProcessVectorEnv

DISCRETE = gym.spaces.Discrete(6)
GAUSSIAN = gym.spaces.Box(-1, 1, (3,), np.float32)
ATARI = (4, 84, 84)
# Mnih et al. 2015 at 4 x 84 x 84, and Mnih et al. 2016, section 8: convolutions of w x h x in x out, then the dense layer, by hand
LARGE = 8 * 8 * 4 * 32 + 32 + 4 * 4 * 32 * 64 + 64 + 3 * 3 * 64 * 64 + 64 + 7 * 7 * 64 * 512 + 512
SMALL = 8 * 8 * 4 * 16 + 16 + 4 * 4 * 16 * 32 + 32 + 9 * 9 * 32 * 256 + 256


def images(*shape):
    return gym.spaces.Box(0, 255, shape, np.uint8)


def random_images(space, count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *space.shape), dtype=np.uint8)


class Catch(gym.Env):
    """Stand under a block that falls through five columns in four steps: left, stay or right; reward 1 for a catch.

    Both columns are uniform at the start and only drawn. So whoever cannot see ends under the block one time in five, whatever he does.
    """

    action_space = gym.spaces.Discrete(3)
    observation_space = images(84, 84, 1)
    columns, size = 5, 16

    def draw(self, block, row, paddle):
        image, size = np.zeros((84, 84), np.uint8), self.size
        image[row * size : (row + 1) * size, block * size : (block + 1) * size] = 255
        image[78:, paddle * size : (paddle + 1) * size] = 255
        return image[..., None]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.row, (self.block, self.paddle) = 0, self.np_random.integers(self.columns, size=2).tolist()
        return self.draw(self.block, self.row, self.paddle), {}

    def step(self, action):
        self.row += 1
        self.paddle = min(max(self.paddle + int(action) - 1, 0), self.columns - 1)
        landed = self.row == self.columns - 1
        return (
            self.draw(self.block, self.row, self.paddle),
            float(landed and self.block == self.paddle),
            landed,
            False,
            {},
        )


def share_caught(pi, env):
    """How many of the 25 starts the policy's most likely actions catch; exact, for nothing else is random."""
    block, paddle = (x.ravel() for x in np.meshgrid(range(env.columns), range(env.columns)))
    for row in range(env.columns - 1):
        action, _ = pi.act(False, np.stack([env.draw(b, row, p) for b, p in zip(block, paddle)]))
        paddle = np.clip(paddle + action - 1, 0, env.columns - 1)
    return (block == paddle).mean()


def test_learns_to_catch_what_it_sees(tmp_path):
    """Seed 0, 8,192 steps, 0.9 of the catches. Blind: 0.2 exactly. Seeds 0, 1 and 2 stood at 0.97 or more by then, while still exploring."""
    envs = InProcessVectorEnv([Catch() for _ in range(8)])
    pi = learn(
        envs,
        lambda *args: CnnPolicy(*args, kind="small", init="orthogonal"),
        timesteps_per_actorbatch=512,
        optim_batchsize=128,
        optim_epochs=4,
        optim_stepsize=1e-3,
        entcoeff=0.01,
        vf_coef=0.5,
        max_grad_norm=0.5,
        gamma=0.95,
        schedule="linear",
        max_timesteps=8192,
        seed=0,
    )
    assert share_caught(pi, Catch()) >= 0.9
    pi.save(tmp_path / "policy.safetensors")
    assert share_caught(load_policy(tmp_path / "policy.safetensors"), Catch()) == share_caught(pi, Catch())


def test_an_untrained_policy_does_not_catch():
    """What the threshold above is worth: without training the same measure stays near chance."""
    assert share_caught(CnnPolicy("pi", images(84, 84, 1), gym.spaces.Discrete(3), kind="small"), Catch()) <= 0.5


@pytest.mark.parametrize(
    "kind, parameters", [("large", LARGE + 512 * (6 + 1) + 7), ("small", SMALL + 256 * (6 + 1) + 7)]
)
def test_networks_have_the_published_sizes(kind, parameters):
    pi = CnnPolicy("pi", images(*ATARI), DISCRETE, kind=kind)
    assert sum(int(tf.size(v)) for v in pi.get_trainable_variables()) == parameters


@pytest.mark.parametrize("kind", ["large", "small"])
@pytest.mark.parametrize("ac_space, ac_shape, flat_width", [(DISCRETE, (), 6), (GAUSSIAN, (3,), 6)])
def test_acts_on_one_image_and_on_a_batch(kind, ac_space, ac_shape, flat_width):
    pi = CnnPolicy("pi", images(*ATARI), ac_space, kind=kind)
    obs = random_images(pi.ob_space, 5)
    ac, vpred = pi.act(True, obs)
    assert ac.shape == (5, *ac_shape) and vpred.shape == (5,)
    one_ac, one_vpred = pi.act(False, obs[0])
    assert one_ac.shape == ac_shape and np.shape(one_vpred) == ()
    assert pi.forward(obs)[0].shape == (5, flat_width)
    exact = exact_networks.cnn(pi, obs)[1]
    exact_networks.assert_within(vpred, exact)
    exact_networks.assert_within(one_vpred, exact.at(0))
    assert exact.error.max() < 0.05 * np.abs(exact.value).max()


def test_channels_first_and_last_are_the_same_network():
    first, last = (CnnPolicy("pi", images(*shape), DISCRETE) for shape in ((4, 84, 84), (84, 84, 4)))
    obs = random_images(first.ob_space, 3)
    for x, y in zip(first.forward(obs), last.forward(obs.transpose(0, 2, 3, 1))):
        np.testing.assert_array_equal(x, y)


def test_images_need_not_be_square():
    pi = CnnPolicy("pi", images(96, 64, 3), DISCRETE)
    assert pi.act(True, random_images(pi.ob_space, 2))[0].shape == (2,)


def test_output_answers_to_every_part_of_the_image():
    """Nature's network covers 84 x 84 without a gap: a patch anywhere moves the value."""
    pi = CnnPolicy("pi", images(*ATARI), DISCRETE)
    blank = np.zeros((1, *ATARI), np.uint8)
    base = pi.vpred(blank)
    for row, column in [(0, 0), (0, 76), (38, 38), (76, 0), (76, 76)]:
        patched = blank.copy()
        patched[0, :, row : row + 8, column : column + 8] = 255
        assert pi.vpred(patched) != base


def test_save_and_load_give_the_same_policy(tmp_path):
    pi = CnnPolicy("pi", images(*ATARI), GAUSSIAN, kind="small", init="orthogonal", init_logstd=-0.5)
    pi.initialise(np.random.default_rng(3))
    pi.save(tmp_path / "policy.safetensors")
    loaded = load_policy(tmp_path / "policy.safetensors")
    assert isinstance(loaded, CnnPolicy) and loaded.settings() == pi.settings() and loaded.ob_space == pi.ob_space
    obs = random_images(pi.ob_space, 4)
    for x, y in zip(loaded.act(False, obs), pi.act(False, obs)):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("ac_space", [DISCRETE, GAUSSIAN])
def test_acting_and_evaluation_agree(ac_space):
    """The segment's compiled evaluation, in blocks, is the network that acted: to rounding of sums of up to 3,136 float32 products."""
    pi = CnnPolicy("pi", images(*ATARI), ac_space)
    obs = random_images(pi.ob_space, 16)
    flat, _ = SegmentProcessor(pi, None, 16, 2).outputs(obs)
    actor = pi.actor(8, None)
    modes = np.concatenate([actor(obs[:8], 0), actor(obs[8:], 1)])
    exact, _ = exact_networks.cnn(pi, obs)
    exact_networks.assert_within(flat, exact)
    if ac_space is GAUSSIAN:
        exact_networks.assert_within(modes, exact.at(slice(None), slice(3)))
    else:  # where the best logit leads the next by more than both may be off
        best = np.sort(exact.value, axis=1)
        clear = best[:, -1] - best[:, -2] > 2 * exact.error.max(axis=1)
        assert clear.mean() > 0.5
        np.testing.assert_array_equal(modes[clear], exact.value.argmax(axis=1)[clear])


def test_what_the_actor_kept_makes_the_first_ratio_one(monkeypatch):
    """Invariant 1 where flatparam is the acting call's: the first minibatch has ratio 1 to rounding, and KL 0."""
    updates, bounds = [], []

    class Recorder(pposgd_simple.PPOUpdate):
        def __call__(self, seg, rng, progress):
            inputs = network_inputs(seg)
            bounds.append(exact_networks.cnn(self.pi, inputs[:64]))
            recorded = {"flatparam": seg["flatparam"].reshape(64, -1), "vpred": seg["vpred"].copy()}
            updates.append((self, recorded, self.processor.outputs(inputs)))
            return super().__call__(seg, rng, progress)

    monkeypatch.setattr(pposgd_simple, "PPOUpdate", Recorder)
    env = InProcessVectorEnv([Catch() for _ in range(4)])
    pposgd_simple.learn(
        env,
        lambda *args: CnnPolicy(*args, kind="small"),
        timesteps_per_actorbatch=64,
        optim_batchsize=16,
        optim_epochs=2,
        max_iters=2,
        seed=0,
        optim_stepsize=1e-2,
    )
    for _, kept, (flat, vpred) in updates:
        for acted, compiled, exact in zip(
            (kept["flatparam"], kept["vpred"].reshape(-1)), (flat[:64], vpred[:64]), bounds.pop(0)
        ):
            exact_networks.assert_within(acted, exact)
            exact_networks.assert_within(compiled, exact)
    kl, clipfrac = (
        updates[-1][0].minibatch_losses[:, pposgd_simple.LOSS_NAMES.index(name)] for name in ("loss_kl", "clipfrac")
    )
    # a KL of three actions is a sum of p (log p - log q), of logarithms near log(1 / 3), each rounded a few times; the steps move it to 1e-4
    assert abs(kl[0]) < 2 * ulps(4, np.log(3)) < kl[-1] / 5 and clipfrac[0] == 0


@pytest.mark.parametrize(
    "space, message",
    [
        (gym.spaces.Box(0, 1, ATARI, np.float32), "dtype uint8"),
        (gym.spaces.Box(0, 255, (84, 84), np.uint8), "rank 3"),
        (gym.spaces.Discrete(4), "needs images"),
        (images(4, 35, 84), "at least 36 x 36"),
    ],
)
def test_observations_that_are_no_such_images_are_refused(space, message):
    with pytest.raises(UserError, match=message):
        CnnPolicy("pi", space, DISCRETE)


def test_the_small_network_takes_smaller_images():
    assert CnnPolicy("pi", images(20, 20, 3), DISCRETE, kind="small").variable_shapes(images(20, 20, 3), DISCRETE, "small")[
        "conv2/w"
    ] == [4, 4, 16, 32]
    with pytest.raises(UserError, match="use at least 20 x 20 pixels, or use MlpPolicy"):
        CnnPolicy("pi", images(19, 20, 3), DISCRETE, kind="small")


@pytest.mark.parametrize(
    "settings, message",
    [({"kind": "huge"}, "must be one of large, small"), ({"init": "zeros"}, "must be one of normc, orthogonal")],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        CnnPolicy("pi", images(*ATARI), DISCRETE, **settings)


def test_an_image_of_another_shape_is_refused():
    pi = CnnPolicy("pi", images(*ATARI), DISCRETE, kind="small")
    with pytest.raises(UserError, match="does not fit"):
        pi.act(True, np.zeros((84, 84, 4), np.uint8))


def test_command_line_trains_a_game_and_saves_a_policy_that_plays(tmp_path):
    path = tmp_path / "run"
    done = run(
        1,
        RUN,
        "--env",
        "BreakoutNoFrameskip-v4",
        "--num-timesteps",
        768,
        "--num-envs",
        2,
        "--timesteps-per-actorbatch",
        384,
        "--optim-batchsize",
        64,
        "--optim-epochs",
        1,
        "--kind",
        "small",
        "--run-dir",
        path,
        "--report",
        "false",
    )
    assert done.returncode == 0, done.stderr
    games = []
    for file in sorted(path.glob("*.monitor.csv")):
        games += [
            (float(row["r"]), int(row["l"]))
            for row in csv.DictReader(file.read_text(encoding="utf-8").splitlines()[1:])
        ]
    assert (
        len(games) >= 2 and min(length for _, length in games) > 100
    )  # whole games: a single life of five lasts some 35 steps
    progress = list(csv.DictReader((path / "progress.csv").read_text(encoding="utf-8").splitlines()))
    assert int(float(progress[-1]["EpisodesSoFar"])) == len(games)
    assert float(progress[-1]["EpRewMean"]) == pytest.approx(
        np.mean([score for score, _ in games]), rel=1e-12
    )  # float64 sums of a few whole numbers
    pi = load_policy(path / "policy" / "policy.safetensors")
    assert pi.act(True, random_images(pi.ob_space, 1)[0])[0] in range(4)
    played = run(1, RUN, "--play", "--load-path", path, "--eval-episodes", 1, "--json")
    assert (played.returncode, done.stderr, played.stderr) == (
        0,
        "",
        "",
    )  # ALE's bindings would tell of games that were never freed
    assert json.loads(played.stdout)["episodes"] == 1


# ---- dtypes of what it sees


class OwnNetwork(Policy):
    """A policy of a user's own, which prepares nothing."""

    def forward(self, ob):
        x = tf.cast(tf.reshape(ob, [tf.shape(ob)[0], -1]), tf.float32)[:, :6]
        return x, x[:, 0]


SEEN = {
    "uint8": lambda x: x,
    "float32": lambda x: x.astype(np.float32),
    "float64": lambda x: x * 1.0,
    "int64": lambda x: x.astype(np.int64),
    "list": lambda x: x.tolist(),
    "tensor": tf.constant,
    "float tensor": lambda x: tf.constant(x, tf.float32),
}


@pytest.mark.parametrize("policy", [CnnPolicy, OwnNetwork, MlpPolicy], ids=lambda one: one.__name__)
def test_images_of_any_dtype_are_seen_alike_whatever_came_before(policy):
    space = images(40, 40, 3)
    img, settings = (
        random_images(space, 1)[0],
        {"hid_size": 4} if policy is MlpPolicy else {"kind": "small"} if policy is CnnPolicy else {},
    )
    expected = [policy("pi", space, DISCRETE, **settings).vpred(img[None])]
    for first in SEEN:
        pi = policy("pi", space, DISCRETE, **settings)
        with pytest.raises(
            UserError, match="give the image undivided, in integers from 0 to 255: this one seems to be divided by 255"
        ):
            pi.act(False, img / 255.0)
        for way in (first, *SEEN):
            np.testing.assert_array_equal(pi.act(False, SEEN[way](img))[1], expected[0][0])
        for call in (pi.pd, pi.vpred, functools.partial(pi.act, True)):
            call(SEEN[first](img[None]))
            for wrong in (img[None] / 255.0, img[None] / 127.5 - 1, img[None] + 0.25, img[None].astype(int) + 256):
                with pytest.raises(UserError, match="an observation of dtype .* does not fit the policy's space"):
                    call(wrong)


def test_a_callback_may_ask_with_another_dtype_while_training_goes_on():
    env, seen = InProcessVectorEnv([Catch() for _ in range(2)]), []

    def callback(names, _):
        img = random_images(Catch.observation_space, 1)[0]
        seen.append([names["pi"].act(False, way(img))[1] for way in SEEN.values()])
        with pytest.raises(UserError, match="seems to be divided by 255"):
            names["pi"].act(False, img / 255.0)

    learn(
        env,
        lambda *args: CnnPolicy(*args, kind="small"),
        timesteps_per_actorbatch=32,
        optim_batchsize=16,
        optim_epochs=1,
        max_iters=2,
        seed=0,
        callback=callback,
    )
    assert len(seen) == 3 and all(len(set(map(float, one))) == 1 for one in seen)


# ---- which axis has the channels


@pytest.mark.parametrize(
    "shape, kind, first",
    [
        ((84, 84, 4), "large", False),
        ((4, 84, 84), "large", True),
        ((210, 160, 3), "large", False),
        ((3, 84, 84), "large", True),
        ((84, 84, 12), "large", False),
        ((96, 64, 3), "large", False),
        ((35, 84, 84), "large", True),
        ((40, 36, 35), "large", False),
        ((1, 20, 20), "small", True),
    ],
)
def test_the_axis_that_is_too_short_for_pixels_has_the_channels(shape, kind, first):
    pi = CnnPolicy("pi", images(*shape), DISCRETE, kind=kind)
    assert pi.settings()["channels"] == ("first" if first else "last")
    assert pi.weights["conv1/w"].shape[2] == (shape[0] if first else shape[2])


@pytest.mark.parametrize(
    "shape, kind",
    [
        ((64, 40, 40), "large"),
        ((36, 36, 48), "large"),
        ((84, 84, 84), "large"),
        ((40, 60, 64), "large"),
        ((24, 84, 84), "small"),
    ],
)
def test_where_either_axis_could_have_them_the_setting_says_which(shape, kind):
    with pytest.raises(
        UserError,
        match=rf"may have {shape[0]} channels first or {shape[2]} channels last; set channels='first' or channels='last'",
    ):
        CnnPolicy("pi", images(*shape), DISCRETE, kind=kind)
    for channels, axis in (("first", 0), ("last", 2)):
        if min(shape[1:] if axis == 0 else shape[:2]) >= (36 if kind == "large" else 20):
            pi = CnnPolicy("pi", images(*shape), DISCRETE, kind=kind, channels=channels)
            assert (
                pi.weights["conv1/w"].shape[2] == shape[axis]
                and pi.act(False, random_images(pi.ob_space, 1)[0])[1].shape == ()
            )


def test_channels_first_by_the_setting_sees_what_channels_last_sees():
    """Channels that are more than the pixels of a side."""
    first, last = (
        CnnPolicy("pi", images(*shape), DISCRETE, kind="small", channels=channels)
        for shape, channels in (((64, 40, 40), "first"), ((40, 40, 64), "last"))
    )
    obs = random_images(first.ob_space, 2)
    for x, y in zip(first.forward(obs), last.forward(obs.transpose(0, 2, 3, 1))):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("channels", ["both", "FIRST", 1, True, ["first"]], ids=str)
def test_another_word_for_the_channels_is_refused(channels):
    with pytest.raises(UserError, match="invalid channels=.*: must be one of first, last, smaller"):
        CnnPolicy("pi", images(*ATARI), DISCRETE, channels=channels)


def test_an_axis_that_leaves_too_few_pixels_is_named():
    with pytest.raises(UserError, match=r"images of \(4, 84, 84\), with their channels last, are too small"):
        CnnPolicy("pi", images(*ATARI), DISCRETE, channels="last")


@pytest.mark.parametrize("shape, axis", [((64, 84, 84), 0), (ATARI, 0), ((84, 84, 40), 2)])
def test_a_file_from_before_the_setting_loads_as_it_was(shape, axis, tmp_path):
    """It took the smaller axis for the channels, also where that is not sure."""
    pi = CnnPolicy("pi", images(*shape), DISCRETE, kind="small", channels="smaller")
    assert pi.weights["conv1/w"].shape[2] == shape[axis]
    arrays, said = pi.state(), pi.spec()
    del said["settings"]["channels"]
    save_arrays(tmp_path / "old.safetensors", arrays, {"format": FORMAT, **said})
    old, obs = load_policy(tmp_path / "old.safetensors"), random_images(pi.ob_space, 2)
    np.testing.assert_array_equal(old.vpred(obs), pi.vpred(obs))
    assert old.settings() == pi.settings() == load_policy_again(pi, tmp_path).settings()


def load_policy_again(pi, folder):
    pi.save(folder / "new.safetensors")
    return load_policy(folder / "new.safetensors")


class Wide(Catch):
    """Both axes could have the channels."""

    observation_space = images(36, 36, 40)

    def draw(self, block, row, paddle):
        return self.np_random.integers(0, 256, (36, 36, 40), dtype=np.uint8)


@pytest.fixture
def wide():
    gym.register("Wide-v0", entry_point=Wide)
    yield (
        "--env",
        "Wide-v0",
        "--kind",
        "small",
        "--timesteps-per-actorbatch",
        "16",
        "--optim-batchsize",
        "8",
        "--optim-epochs",
        "1",
        "--num-envs",
        "1",
        "--report",
        "false",
        "--quiet",
    )
    del gym.registry["Wide-v0"]


def test_the_command_line_names_the_flag_and_goes_on_with_runs_from_before_it(wide, tmp_path, cli_here):
    refused = cli_here(*wide, "--max-iters", "1", "--run-dir", tmp_path / "refused")
    assert refused.returncode == 2
    assert "set --channels first or --channels last, or use --policy mlp" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    done = cli_here(*wide, "--channels", "last", "--max-iters", "1", "--run-dir", tmp_path / "run")
    assert (done.returncode, done.stderr) == (0, "")
    config = json.loads((tmp_path / "run/config.json").read_text(encoding="utf-8"))
    assert config["settings"]["policy_settings"].pop("channels") == "last" and config["typed"].pop("channels") == "last"
    (tmp_path / "run/config.json").write_text(
        json.dumps(config), encoding="utf-8"
    )  # 36 of rows, 40 of channels: the guess took the rows
    old = cli_here("--resume", "--run-dir", tmp_path / "run", "--max-iters", "2")
    assert (
        old.returncode == 2 and "contains another model" in old.stderr
    )  # as it always was: the guess would have made another network of it
    assert "not a setting of the mlp policy" in cli_here("--env", "CartPole-v1", "--channels", "last").stderr
