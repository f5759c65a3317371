"""MlpPolicy: its forward pass by hand, acting as forward does, its sizes, what it refuses, and files."""
import gymnasium as gym
import numpy as np
import pytest

from baselines_ppo import MlpPolicy, UserError, load_policy

HOPPER = gym.spaces.Box(-np.inf, np.inf, (11,), np.float64), gym.spaces.Box(-1, 1, (3,), np.float32)
KINDS = {"plain": {}, "wide value": {"vf_hid_size": 96}, "one trunk": {"shared_trunk": True}, "linear": {"num_hid_layers": 0},
         "deviation by state": {"gaussian_fixed_var": False}, "three layers": {"num_hid_layers": 3, "hid_size": 7, "vf_hid_size": 5}}

ATOL = 1e-5  # outputs up to 10 of sums of 64 products, some ten roundings of 6e-8 each in float32


def policy(**settings):
    """A policy with random weights, also where they start at 0, and a filter that has seen something."""
    pi, rng = MlpPolicy("pi", *HOPPER, **settings), np.random.default_rng(0)
    for v in pi.get_variables():
        v.assign(0.3 * rng.standard_normal(v.shape))
    pi.ob_rms.update(5 + 3 * rng.standard_normal((100, 11)))
    return pi


def by_hand(pi, x, net):
    """A network's outputs in float64, from its weights by name."""
    w = {key: v.numpy().astype(np.float64) for key, v in pi.weights.items()}
    hidden = "pol" if pi.shared_trunk else net
    for i in range(1, pi.num_hid_layers + 1):
        x = np.tanh(x @ w[f"{hidden}/fc{i}/w"] + w[f"{hidden}/fc{i}/b"])
    return x @ w[f"{net}/final/w"] + w[f"{net}/final/b"]


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_forward_is_tanh_layers_over_normalised_observations(settings):
    pi, ob = policy(**settings), 5 + 3 * np.random.default_rng(1).standard_normal((50, 11))
    x = np.clip((ob - pi.ob_rms.mean) / pi.ob_rms.std, -5, 5)
    flat, vpred = pi.forward(pi.prepare(ob))
    wanted = by_hand(pi, x, "pol")
    if pi.gaussian_fixed_var:
        wanted = np.concatenate([wanted, np.tile(pi.weights["pol/logstd"].numpy(), (50, 1))], axis=1)
    np.testing.assert_allclose(flat, wanted, rtol=0, atol=ATOL)
    np.testing.assert_allclose(vpred, by_hand(pi, x, "vf")[:, 0], rtol=0, atol=ATOL)


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_acting_is_the_forward_pass_and_its_noise(settings):
    pi, rng = policy(**settings), np.random.default_rng(2)
    ob, noise = 5 + 3 * rng.standard_normal((4, 11)), rng.standard_normal((1, 4, 3))
    mean, logstd = np.split(pi.forward(pi.prepare(ob))[0].numpy(), 2, axis=1)
    np.testing.assert_allclose(pi.actor(4, None)(ob, 0), mean, rtol=0, atol=ATOL)
    np.testing.assert_allclose(pi.actor(4, noise)(ob, 0), mean + np.exp(logstd) * noise[0], rtol=0, atol=ATOL)
    np.testing.assert_allclose(pi.actor(1, noise[:, :1])(ob[:1], 0), (mean + np.exp(logstd) * noise[0])[:1], rtol=0, atol=ATOL)


def test_sizes_are_those_that_are_asked_for():
    count = {name: sum(np.prod(v.shape) for v in MlpPolicy("pi", *HOPPER, **settings).get_trainable_variables()) for name, settings in KINDS.items()}
    pol, value = 11 * 64 + 64 + 64 * 64 + 64 + 64 * 3 + 3 + 3, 11 * 64 + 64 + 64 * 64 + 64 + 64 + 1
    assert count["plain"] == pol + value == 10_119
    assert count["wide value"] == pol + 11 * 96 + 96 + 96 * 96 + 96 + 96 + 1
    assert count["one trunk"] == pol + 64 + 1
    assert count["linear"] == 11 * 3 + 3 + 3 + 11 + 1


@pytest.mark.parametrize("settings, part", [
    ({"vf_hid_size": 0}, "vf_hid_size=0"), ({"vf_hid_size": "64"}, "vf_hid_size='64'"), ({"vf_hid_size": 10**9}, "vf_hid_size=1000000000.* memory"),
    ({"vf_hid_size": 32, "shared_trunk": True}, "vf_hid_size=32, but with shared_trunk"), ({"ob_clip": 0}, "ob_clip=0 .* above 0"),
    ({"ob_min_std": -0.1}, "ob_min_std=-0.1"), ({"ob_clip": -1}, "ob_clip=-1")])
def test_what_cannot_be_is_refused_in_one_line(settings, part):
    with pytest.raises(UserError, match=part) as caught:
        MlpPolicy("pi", *HOPPER, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_a_file_gives_the_policy_again(settings, tmp_path):
    pi, ob = policy(**settings), np.random.default_rng(3).standard_normal((5, 11))
    pi.save(tmp_path / "policy.safetensors")
    again = load_policy(tmp_path / "policy.safetensors")
    assert again.settings() == pi.settings()
    np.testing.assert_array_equal(again.act(False, ob)[0], pi.act(False, ob)[0])


def test_a_file_from_before_the_value_had_a_width_of_its_own_loads(tmp_path, monkeypatch):
    before = MlpPolicy.settings
    monkeypatch.setattr(MlpPolicy, "settings", lambda self: {name: value for name, value in before(self).items() if name != "vf_hid_size"})
    pi = policy()
    pi.save(tmp_path / "policy.safetensors")
    monkeypatch.undo()
    assert load_policy(tmp_path / "policy.safetensors").settings()["vf_hid_size"] is None
