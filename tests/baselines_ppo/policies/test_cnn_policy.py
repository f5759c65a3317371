"""CnnPolicy: its networks, acting, refused observations and settings, files and dtypes of images."""

import functools

import exact_networks
import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from catch_env import Catch, images, random_images
from tolerance import ulps

from baselines_ppo import CnnPolicy, MlpPolicy, Policy, learn, pposgd_simple
from baselines_ppo.policy_registry import load_policy
from common.errors import UserError
from common.rollouts.processor import SegmentProcessor
from common.rollouts.segment import network_inputs
from common.vec_env.in_process import InProcessVectorEnv

DISCRETE = gym.spaces.Discrete(6)
GAUSSIAN = gym.spaces.Box(-1, 1, (3,), np.float32)
ATARI = (4, 84, 84)
# Mnih et al. 2015 at 4 x 84 x 84, and Mnih et al. 2016, section 8: convolutions of w x h x in x out, then the dense
# layer, computed by hand
LARGE = 8 * 8 * 4 * 32 + 32 + 4 * 4 * 32 * 64 + 64 + 3 * 3 * 64 * 64 + 64 + 7 * 7 * 64 * 512 + 512
SMALL = 8 * 8 * 4 * 16 + 16 + 4 * 4 * 16 * 32 + 32 + 9 * 9 * 32 * 256 + 256


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


def test_the_output_depends_on_every_part_of_the_image():
    """Nature's network covers 84 x 84 pixels without a gap: a patch anywhere changes the value."""
    pi = CnnPolicy("pi", images(*ATARI), DISCRETE)
    blank = np.zeros((1, *ATARI), np.uint8)
    base = pi.vpred(blank)
    for row, column in [(0, 0), (0, 76), (38, 38), (76, 0), (76, 76)]:
        patched = blank.copy()
        patched[0, :, row : row + 8, column : column + 8] = 255
        assert pi.vpred(patched) != base


def test_save_and_load_restore_the_policy(tmp_path):
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
    """The compiled evaluation of a segment, in blocks, equals the network that acted.

    The tolerance is the rounding error of sums of up to 3,136 float32 products.
    """
    pi = CnnPolicy("pi", images(*ATARI), ac_space)
    obs = random_images(pi.ob_space, 16)
    flat, _ = SegmentProcessor(pi, None, 16, 2).outputs(obs)
    actor = pi.actor(8, None)
    modes = np.concatenate([actor(obs[:8], 0), actor(obs[8:], 1)])
    exact, _ = exact_networks.cnn(pi, obs)
    exact_networks.assert_within(flat, exact)
    if ac_space is GAUSSIAN:
        exact_networks.assert_within(modes, exact.at(slice(None), slice(3)))
    else:  # the best logit leads the next by more than the errors of both
        best = np.sort(exact.value, axis=1)
        clear = best[:, -1] - best[:, -2] > 2 * exact.error.max(axis=1)
        assert clear.mean() > 0.5
        np.testing.assert_array_equal(modes[clear], exact.value.argmax(axis=1)[clear])


def test_recorded_outputs_of_the_actor_make_the_first_ratio_one(monkeypatch):
    """Invariant 1, with flatparam from the acting call: the first minibatch has ratio 1 up to rounding, and KL 0."""
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
    # a KL of three actions is a sum of p (log p - log q) with logarithms near log(1 / 3), each rounded a few times; the
    # steps increase it to 1e-4
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
def test_other_observations_are_refused(space, message):
    with pytest.raises(UserError, match=message):
        CnnPolicy("pi", space, DISCRETE)


def test_the_small_network_accepts_smaller_images():
    assert CnnPolicy("pi", images(20, 20, 3), DISCRETE, kind="small").variable_shapes(
        images(20, 20, 3), DISCRETE, "small"
    )["conv2/w"] == [4, 4, 16, 32]
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


# ---- dtypes of images


class CustomPolicy(Policy):
    """A custom policy without `prepare`."""

    def forward(self, ob):
        x = tf.cast(tf.reshape(ob, [tf.shape(ob)[0], -1]), tf.float32)[:, :6]
        return x, x[:, 0]


CONVERSIONS = {
    "uint8": lambda x: x,
    "float32": lambda x: x.astype(np.float32),
    "float64": lambda x: x * 1.0,
    "int64": lambda x: x.astype(np.int64),
    "list": lambda x: x.tolist(),
    "tensor": tf.constant,
    "float tensor": lambda x: tf.constant(x, tf.float32),
}


@pytest.mark.parametrize("policy", [CnnPolicy, CustomPolicy, MlpPolicy], ids=lambda policy: policy.__name__)
def test_images_of_any_dtype_give_the_same_value_in_any_order(policy):
    space = images(40, 40, 3)
    img, settings = (
        random_images(space, 1)[0],
        {"hid_size": 4} if policy is MlpPolicy else {"kind": "small"} if policy is CnnPolicy else {},
    )
    expected = [policy("pi", space, DISCRETE, **settings).vpred(img[None])]
    for first in CONVERSIONS:
        pi = policy("pi", space, DISCRETE, **settings)
        with pytest.raises(
            UserError, match="give the image undivided, in integers from 0 to 255: this one seems to be divided by 255"
        ):
            pi.act(False, img / 255.0)
        for name in (first, *CONVERSIONS):
            np.testing.assert_array_equal(pi.act(False, CONVERSIONS[name](img))[1], expected[0][0])
        for call in (pi.pd, pi.vpred, functools.partial(pi.act, True)):
            call(CONVERSIONS[first](img[None]))
            for wrong in (img[None] / 255.0, img[None] / 127.5 - 1, img[None] + 0.25, img[None].astype(int) + 256):
                with pytest.raises(UserError, match="an observation of dtype .* does not fit the policy's space"):
                    call(wrong)


def test_a_callback_may_use_another_dtype_during_training():
    env, seen = InProcessVectorEnv([Catch() for _ in range(2)]), []

    def callback(names, _):
        img = random_images(Catch.observation_space, 1)[0]
        seen.append([names["pi"].act(False, convert(img))[1] for convert in CONVERSIONS.values()])
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
