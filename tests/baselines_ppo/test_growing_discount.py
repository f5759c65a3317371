"""`gamma_final`: a discount factor that grows during the training."""

import math

import numpy as np
import pytest
from small_envs import Ragged
from small_policies import uncompiled

from baselines_ppo import UserError, pposgd_simple, trpo_mpi, vpg
from baselines_ppo.config.settings import PPOSettings
from common.training.stopping import StopCriteria

SETTINGS = {"gamma": 0.9, "gamma_final": 0.99, "seed": 3, "max_iters": 4}
PPO = {"timesteps_per_actorbatch": 64, "optim_batchsize": 32, "optim_epochs": 2}
VPG = {"timesteps_per_actorbatch": 64, "whole_episodes": False, "vf_batchsize": 32}


def test_the_horizon_grows_by_a_constant_factor():
    settings = PPOSettings(gamma=0.99, gamma_final=0.998)
    assert settings.discount(0.0) == 0.99
    # one subtraction from 1 of a number below 0.01, which two powers and a product round before
    assert settings.discount(1.0) == pytest.approx(0.998, rel=0, abs=2 * np.spacing(1.0))
    assert settings.discount(0.5) == pytest.approx(1 - math.sqrt(0.01 * 0.002), rel=0, abs=2 * np.spacing(1.0))


def test_without_it_the_discount_is_constant():
    assert [PPOSettings(gamma=0.97).discount(x) for x in (0.0, 0.4, 1.0)] == [0.97] * 3


@pytest.mark.parametrize(
    ("module", "settings"),
    [
        (pposgd_simple, PPO),
        (pposgd_simple, PPO | {"recompute_adv": True}),
        (trpo_mpi, {"timesteps_per_batch": 64, "vf_batchsize": 32}),
        (vpg, VPG),
    ],
)
def test_each_algorithm_uses_the_discount_of_the_iteration(module, settings, monkeypatch):
    used = []

    def spy(seg, gamma, lam):
        used.append(gamma)
        original(seg, gamma, lam)

    original = module.add_vtarg_and_adv
    monkeypatch.setattr(module, "add_vtarg_and_adv", spy)
    module.learn(Ragged(), uncompiled, **SETTINGS, **settings)
    repetitions = 2 if settings.get("recompute_adv") else 1
    expected = [1 - 0.1 ** (1 - i / 4) * 0.01 ** (i / 4) for i in range(4) for _ in range(repetitions)]
    np.testing.assert_allclose(used, expected, rtol=0, atol=4 * np.spacing(1.0))


def test_returns_without_a_value_function_have_the_discount_of_the_iteration(monkeypatch):
    used = []
    original = vpg.gae
    monkeypatch.setattr(vpg, "gae", lambda *rest: used.append(rest[5]) or original(*rest))
    no_baseline = {"baseline": "mean", "vf_iters": 0}
    vpg.learn(Ragged(), uncompiled, **SETTINGS | {"max_iters": 2}, **VPG | no_baseline | {"whole_episodes": True})
    assert used == [0.9, PPOSettings(gamma=0.9, gamma_final=0.99).discount(0.5)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gamma_final": 1.0}, "invalid gamma_final=1.0 with gamma=0.99: both must be below 1"),
        ({"gamma": 1.0, "gamma_final": 0.9}, "invalid gamma_final=0.9 with gamma=1.0: both must be below 1"),
        ({"gamma_final": 1.5}, "invalid gamma_final=1.5: must be"),
    ],
)
def test_a_discount_that_does_not_stay_below_one_is_refused(values, message):
    with pytest.raises(UserError, match=message):
        PPOSettings(**values).check()


def test_a_run_of_unknown_length_is_refused():
    with pytest.raises(UserError, match="gamma_final=0.998 needs to know how long the run is: set max_timesteps"):
        PPOSettings(gamma_final=0.998).check_with(StopCriteria(max_seconds=5))
