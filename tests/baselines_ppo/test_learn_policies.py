"""Policies in `learn`: each kind of action space, custom policies, initial weights."""

import exact_networks
import gymnasium as gym
import numpy as np
import pytest
from small_envs import Identity, Ragged
from small_policies import Linear, uncompiled
from tolerance import gamma

from baselines_ppo import CnnPolicy, MlpPolicy, UserError, learn, load_policy

SMALL = {"timesteps_per_actorbatch": 64, "optim_batchsize": 32, "optim_epochs": 2, "seed": 3}
SPACES = [
    gym.spaces.Discrete(3, start=2),
    gym.spaces.MultiDiscrete([2, 3]),
    gym.spaces.MultiBinary(2),
    gym.spaces.Box(-1, 1, (2, 2), np.float32),
    gym.spaces.Box(-1, 1, (), np.float32),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_each_kind_of_space_trains_saves_and_loads(space, tmp_path):
    env = Identity(space)
    pi = learn(env, uncompiled, max_iters=1, **SMALL)
    path = tmp_path / "policy.safetensors"
    pi.save(path)
    loaded = load_policy(path)
    loaded.xla = pi.xla  # XLA rounds differently
    obs = [env.reset(seed=i)[0] for i in range(5)]
    for ob in obs:
        ac, vpred = pi.act(False, ob)
        assert env.action_space.contains(
            np.asarray(ac).astype(space.dtype) if ac.shape else space.dtype.type(ac)
        ) or isinstance(space, gym.spaces.Box)
        np.testing.assert_array_equal(ac, loaded.act(False, ob)[0])
        assert vpred == loaded.act(False, ob)[1] and np.ndim(vpred) == 0
    batch, values = pi.act(True, np.stack([np.asarray(ob) for ob in obs]))
    assert batch.shape == (5, *space.shape) and values.shape == (5,)


def test_actions_of_numpy_and_tensorflow_agree():
    for space in (*SPACES, gym.spaces.Box(-1, 1, (3,), np.float32)):
        pi = MlpPolicy("pi", gym.spaces.Box(-np.inf, np.inf, (7,), np.float64), space)
        rng = np.random.default_rng(0)
        pi.ob_rms.update(rng.standard_normal((50, 7)) * 3 + 5)
        for num_envs in (1, 4):
            ob, noise = rng.standard_normal((num_envs, 7)), pi.pdtype.noise(rng, (1, num_envs))
            acted = pi.actor(num_envs, noise)(ob, 0)
            compiled = pi.pd(ob).sample(noise[0]).numpy()
            exact, _ = exact_networks.mlp(pi, ob)
            if isinstance(space, gym.spaces.Box):
                expected = exact_networks.gaussian_sample(pi.pdtype, exact, noise[0])
                exact_networks.assert_within(acted, expected)
                exact_networks.assert_within(compiled, expected)
            else:  # with this seed, the best score leads by more than its error: by at least 0.01 of noise, which no processor changes
                assert exact.error.max() < 1e-4
                np.testing.assert_array_equal(acted, compiled)


def test_custom_policy_needs_only_variables_and_forward():
    pi = learn(Ragged(), Linear, max_iters=2, **SMALL)
    assert np.abs(pi.w.numpy()).max() > 0


def test_mlp_policy_is_initialised_as_in_baselines():
    pi = MlpPolicy("pi", Ragged.observation_space, Ragged.action_space, hid_size=64, num_hid_layers=2)
    w = {name: v.numpy() for name, v in pi.weights.items()}
    for name, norm in (("pol/fc1/w", 1), ("pol/final/w", 0.01), ("vf/final/w", 1)):
        # float32 squares of up to 64 rows, and their root
        np.testing.assert_allclose(np.linalg.norm(w[name], axis=0), norm, rtol=gamma(64 + 4))
    assert all((x == 0).all() for name, x in w.items() if name.endswith("/b") or name == "pol/logstd")


def test_cnn_policy_needs_images():
    with pytest.raises(UserError, match="needs images"):
        CnnPolicy("pi", Ragged.observation_space, Ragged.action_space)
