"""MlpPolicy: forward pass, acting, sizes, refused settings and files."""

import exact_networks
import gymnasium as gym
import numpy as np
import pytest

from baselines_ppo import MlpPolicy, UserError, load_policy

HOPPER = gym.spaces.Box(-np.inf, np.inf, (11,), np.float64), gym.spaces.Box(-1, 1, (3,), np.float32)
KINDS = {
    "plain": {},
    "wide value": {"vf_hid_size": 96},
    "one trunk": {"shared_trunk": True},
    "linear": {"num_hid_layers": 0},
    "standard deviation by state": {"gaussian_fixed_var": False},
    "three layers": {"num_hid_layers": 3, "hid_size": 7, "vf_hid_size": 5},
}


def policy(**settings):
    """Return a policy with random weights, biases included, and an updated observation filter."""
    pi, rng = MlpPolicy("pi", *HOPPER, **settings), np.random.default_rng(0)
    for v in pi.get_variables():
        v.assign(0.3 * rng.standard_normal(v.shape))
    pi.ob_rms.update(5 + 3 * rng.standard_normal((100, 11)))
    return pi


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_forward_is_tanh_layers_over_normalised_observations(settings):
    pi, ob = policy(**settings), 5 + 3 * np.random.default_rng(1).standard_normal((50, 11))
    ob[0] *= 10  # beyond the clip
    for found, exact in zip(pi.forward(pi.prepare(ob)), exact_networks.mlp(pi, ob)):
        # a missing bias, or an observation that is not clipped, changes an output by 0.1 or more
        exact_networks.assert_within(found, exact)
        assert exact.error.max() < 0.01


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_acting_is_the_forward_pass_plus_noise(settings):
    pi, rng = policy(**settings), np.random.default_rng(2)
    ob, noise = 5 + 3 * rng.standard_normal((4, 11)), rng.standard_normal((1, 4, 3))
    ob[0] *= 10  # beyond the clip
    flat, _ = exact_networks.mlp(pi, ob)
    mean, sampled = (exact_networks.gaussian_sample(pi.pdtype, flat, one) for one in (0 * noise[0], noise[0]))
    exact_networks.assert_within(pi.actor(4, None)(ob, 0), mean)
    exact_networks.assert_within(pi.actor(4, noise)(ob, 0), sampled)
    exact_networks.assert_within(pi.actor(1, noise[:, :1])(ob[:1], 0), sampled.at(slice(1)))
    # missing noise changes a sample by about one standard deviation
    assert mean.error.max() < 0.01 and (sampled.error < 0.01 * (1 + np.exp(flat.value[:, 3:]))).all()


def test_networks_have_the_requested_sizes():
    count = {
        name: sum(np.prod(v.shape) for v in MlpPolicy("pi", *HOPPER, **settings).get_trainable_variables())
        for name, settings in KINDS.items()
    }
    pol, value = 11 * 64 + 64 + 64 * 64 + 64 + 64 * 3 + 3 + 3, 11 * 64 + 64 + 64 * 64 + 64 + 64 + 1
    assert count["plain"] == pol + value == 10_119
    assert count["wide value"] == pol + 11 * 96 + 96 + 96 * 96 + 96 + 96 + 1
    assert count["one trunk"] == pol + 64 + 1
    assert count["linear"] == 11 * 3 + 3 + 3 + 11 + 1


@pytest.mark.parametrize(
    "settings, part",
    [
        ({"vf_hid_size": 0}, "vf_hid_size=0"),
        ({"vf_hid_size": "64"}, "vf_hid_size='64'"),
        ({"vf_hid_size": 10**9}, "vf_hid_size=1000000000.* memory"),
        ({"vf_hid_size": 32, "shared_trunk": True}, "vf_hid_size=32: with shared_trunk"),
        ({"ob_clip": 0}, "ob_clip=0: must be greater than 0"),
        ({"ob_min_std": -0.1}, "ob_min_std=-0.1"),
        ({"ob_clip": -1}, "ob_clip=-1"),
    ],
)
def test_invalid_settings_are_refused_in_one_line(settings, part):
    with pytest.raises(UserError, match=part) as caught:
        MlpPolicy("pi", *HOPPER, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_a_policy_is_restored_from_its_file(settings, tmp_path):
    pi, ob = policy(**settings), np.random.default_rng(3).standard_normal((5, 11))
    pi.save(tmp_path / "policy.safetensors")
    again = load_policy(tmp_path / "policy.safetensors")
    assert again.settings() == pi.settings()
    np.testing.assert_array_equal(again.act(False, ob)[0], pi.act(False, ob)[0])


def test_a_file_without_vf_hid_size_loads(tmp_path, monkeypatch):
    before = MlpPolicy.settings
    monkeypatch.setattr(
        MlpPolicy,
        "settings",
        lambda self: {name: value for name, value in before(self).items() if name != "vf_hid_size"},
    )
    pi = policy()
    pi.save(tmp_path / "policy.safetensors")
    monkeypatch.undo()
    assert load_policy(tmp_path / "policy.safetensors").settings()["vf_hid_size"] is None


def test_settings_have_pythons_own_lists():
    pi = MlpPolicy("pi", gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(2), hidden=(8, 4))
    assert pi.settings()["hidden"] == [8, 4] and type(pi.settings()["hidden"]) is list


def test_a_network_that_does_not_fit_names_the_settings_that_make_it_large():
    spaces = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(2)
    with pytest.raises(UserError, match=r"^hidden=\[8\], memory_size=999999999: the network needs"):
        MlpPolicy("pi", *spaces, hidden=[8], memory="lstm", memory_size=999_999_999)
    with pytest.raises(UserError, match="^hid_size=999999999, num_hid_layers=2: the network needs"):
        MlpPolicy("pi", *spaces, hid_size=999_999_999)
