"""MixedPolicy: parts by kind, images of every form, names, refusals, files."""

import gymnasium as gym
import numpy as np
import pytest

from baselines_ppo import load_policy
from baselines_ppo.networks.mixed_policy import MixedPolicy
from common.errors import UserError
from common.policies.inputs.images import SMALLEST_IMAGE
from common.policies.inputs.parts import CHOICES, NUMBERS, PartsEncoder
from common.policies.layers.convolutions import ARCHITECTURES, min_pixels

IMAGE = gym.spaces.Box(0, 255, (40, 36, 3), np.uint8)
AC_SPACE = gym.spaces.Discrete(3)


def box(*shape):
    return gym.spaces.Box(0, 255, shape, np.uint8)


def test_leaves_are_divided_by_kind_and_encoded_without_loss():
    space = gym.spaces.Dict(
        {
            "camera": IMAGE,
            "pixel": box(2, 2),  # too small for an image
            "arm": gym.spaces.Tuple((gym.spaces.Box(-1e9, 1e9, (2,), np.float64), gym.spaces.Discrete(3, start=-1))),
            "bits": gym.spaces.MultiBinary(2),
        }
    )
    encoder = PartsEncoder(space)
    space.seed(0)
    ob = space.sample()
    encoded = encoder.encode(ob)
    np.testing.assert_array_equal(encoded["camera"], ob["camera"])
    # in the order of gymnasium.spaces.flatten, which sorts the keys: arm, bits, pixel
    expected = np.concatenate([ob["arm"][0], ob["bits"], ob["pixel"].ravel()])
    assert encoded.dtype[NUMBERS].base == np.float64
    np.testing.assert_array_equal(encoded[NUMBERS], expected)
    np.testing.assert_array_equal(encoded[CHOICES], np.eye(3)[ob["arm"][1] + 1])


@pytest.mark.parametrize(
    ("space", "channels"),
    [(box(40, 36), 1), (box(40, 36, 3), 3), (box(3, 40, 36), 3), (box(4, 40, 36, 3), 12), (box(4, 3, 40, 36), 12)],
    ids=str,
)
def test_an_image_is_seen_with_its_channels_last(space, channels):
    """The convolutions see frame s and channel c of pixel (y, x) in channel s * C + c."""
    pi = MixedPolicy("pi", gym.spaces.Dict({"eye": space}), AC_SPACE, kind="small")
    network = pi.images["eye"]
    assert pi.weights["eye/conv1/w"].shape[2] == channels
    ob = np.arange(np.prod(space.shape)).reshape(1, *space.shape)
    seen = np.asarray(network._channels_last(np.float32(ob)))[0]
    assert seen.shape == (40, 36, channels)
    frames = ob[0] if len(space.shape) == 4 else ob
    for s, frame in enumerate(frames):
        frame = frame[None] if len(space.shape) == 2 else frame if network.channels_first else np.moveaxis(frame, -1, 0)
        for c, plane in enumerate(frame):
            np.testing.assert_array_equal(seen[..., s * len(frame) + c], plane)


def test_names_of_parts_do_not_collide():
    space = gym.spaces.Dict({"numbers": IMAGE, "a": gym.spaces.Dict({"b": IMAGE}), "a/b": IMAGE, "x": box(2)})
    pi = MixedPolicy("pi", space, AC_SPACE)
    assert sorted(pi.images) == ["a/b", "a/b_", "numbers"]
    space.seed(0)
    assert pi.act(False, space.sample())[0] in range(3)


def test_channels_of_single_images_are_kept_in_the_file(tmp_path):
    square = box(40, 40, 40)  # any axis could hold the channels
    space = gym.spaces.Dict({"camera": square, "map": square})
    with pytest.raises(UserError, match="channels first or"):
        MixedPolicy("pi", space, AC_SPACE)
    pi = MixedPolicy("pi", space, AC_SPACE, channels="camera=first,map=last")
    assert [network.channels_first for network in pi.images.values()] == [True, False]
    pi.save(tmp_path / "policy.safetensors")
    loaded = load_policy(tmp_path / "policy.safetensors")
    assert loaded.settings() == pi.settings()
    space.seed(0)
    ob = space.sample()
    np.testing.assert_array_equal(loaded.vpred(ob), pi.vpred(ob))
    with pytest.raises(UserError, match="the images are camera, map"):
        MixedPolicy("pi", space, AC_SPACE, channels="door=first")


def test_an_unknown_setting_is_refused():
    with pytest.raises(UserError, match="MixedPolicy has no setting hidden_sizes"):
        MixedPolicy("pi", gym.spaces.Dict({"camera": IMAGE}), AC_SPACE, hidden_sizes=[3])


def test_the_smallest_image_is_that_of_the_small_network():
    assert min_pixels(ARCHITECTURES["small"][0]) == SMALLEST_IMAGE


def test_an_error_about_channels_names_the_image_and_the_value_to_set():
    space = gym.spaces.Dict({"cam": box(40, 40, 40), "front": box(40, 40, 3)})
    with pytest.raises(UserError, match=r"images 'cam' of \(40, 40, 40\) may .* set channels to cam=first or cam=last"):
        MixedPolicy("pi", space, AC_SPACE, kind="small")
    with pytest.raises(UserError, match=r"images 'front' of \(40, 40, 3\), with their channels first, .* front=last"):
        MixedPolicy("pi", space, AC_SPACE, kind="small", channels="first")
    pi = MixedPolicy("pi", space, AC_SPACE, kind="small", channels="cam=first,front=last")
    assert pi.settings()["channels"] == "cam=first,front=last"
    with pytest.raises(UserError, match="each once"):
        MixedPolicy("pi", space, AC_SPACE, channels="cam=first,cam=last")


def test_settings_have_pythons_own_lists():
    assert type(MixedPolicy("pi", gym.spaces.Dict({}), AC_SPACE, hidden=(8, 4)).settings()["hidden"]) is list
