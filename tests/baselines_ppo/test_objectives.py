"""Objectives and losses: gradients against finite differences in float64 and against each other; losses by hand; adaptation of beta."""

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from tolerance import LIBM, gamma, ulps

from baselines_ppo import MlpPolicy
from baselines_ppo.config.settings import SURROGATES, PPOSettings, VPGSettings
from baselines_ppo.objectives import OBJECTIVES, Coefficients, adapt_kl_coefficient, policy_gradient, probability_ratio
from baselines_ppo.pposgd_simple import LOSS_NAMES, AdaptiveKLCoefficient, ppo_losses
from baselines_ppo.vpg import vpg_losses
from common.distributions import make_pdtype

BOX, DISCRETE = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(4)
C = Coefficients(tf.constant(0.2, tf.float64), tf.constant(0.7, tf.float64))


def sample_of(space, rng, n=6):
    """(pdtype, old parameters, new parameters, actions, advantages) in float64, with ratios on both sides of the clip range."""
    pdtype = make_pdtype(space)
    old = rng.normal(0, 0.4, (n, *pdtype.param_shape()))
    ac = rng.integers(0, 4, n) if space is DISCRETE else rng.standard_normal((n, 2))
    return pdtype, old, old + rng.normal(0, 0.25, old.shape), ac, rng.standard_normal(n)


def objective(name, pdtype, old, flat, ac, atarg):
    """Sum of an objective over the samples, as a function of the parameters `flat`."""
    pd, oldpd = pdtype.pdfromflat(flat), pdtype.pdfromflat(tf.constant(old))
    if name == "policy_gradient":
        return tf.reduce_sum(policy_gradient(pd.logp(ac), atarg))
    return tf.reduce_sum(OBJECTIVES[name](probability_ratio(pd.logp(ac), oldpd.logp(ac)), atarg, oldpd.kl(pd), C))


@pytest.mark.parametrize("name", [*OBJECTIVES, "policy_gradient"])
@pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["gaussian", "categorical"])
def test_gradient_equals_the_finite_difference(name, space):
    pdtype, old, new, ac, atarg = sample_of(space, np.random.default_rng(3))
    flat = tf.Variable(new)
    with tf.GradientTape() as tape:
        value = objective(name, pdtype, old, flat, ac, atarg)
    grad, h = tape.gradient(value, flat).numpy(), 1e-6
    for index in np.ndindex(*new.shape):
        up, down = new.copy(), new.copy()
        up[index] += h
        down[index] -= h
        difference = (
            objective(name, pdtype, old, tf.constant(up), ac, atarg)
            - objective(name, pdtype, old, tf.constant(down), ac, atarg)
        ) / (2 * h)
        # float64: rounding a value of about 10, divided by the step, is 1e-9, and more where terms cancel; gradients are about 0.1 to 10
        assert grad[index] == pytest.approx(float(difference), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("compiled", [False, True])
def test_overflowing_ratio_has_a_finite_gradient_if_the_objective_is_finite(name, compiled):
    logp, atarg = (
        tf.constant([-200.0, 0.0, 88.0, 200.0, -200.0, 0.0, 200.0]),
        tf.constant([1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0]),
    )

    def both(logp):
        with tf.GradientTape() as tape:
            tape.watch(logp)
            value = OBJECTIVES[name](probability_ratio(logp, tf.zeros(7)), atarg, tf.zeros(7), Coefficients(0.2, 0.7))
        return value, tape.gradient(value, logp)

    value, gradient = (x.numpy() for x in (tf.function(both, jit_compile=True) if compiled else both)(logp))
    # the last value is infinite for all objectives, and stops a run
    assert np.isfinite(value).tolist() == [True] * 3 + [name == "clip"] + [True] * 2 + [False]
    assert np.isfinite(gradient).all()
    if name == "clip":
        np.testing.assert_allclose(value[:4], [0, 1, 1.2, 1.2], rtol=ulps(LIBM, 1))  # exp(0), and 1 + 0.2
        assert gradient[:4].tolist() == [0, 1, 0, 0]


def test_command_line_offers_all_objectives():
    assert OBJECTIVES.keys() == set(SURROGATES)


def test_objectives_follow_their_equations():
    ratio, atarg, kl = (
        np.array([0.5, 0.9, 1.1, 1.5, 0.5, 1.5]),
        np.array([1, 1, 1, 1, -1, -1.0]),
        np.array([0.1, 0.2, 0, 0.3, 0.4, 0.5]),
    )
    assert OBJECTIVES["clip"](ratio, atarg, kl, C).numpy() == pytest.approx([0.5, 0.9, 1.1, 1.2, -0.8, -1.5])
    assert OBJECTIVES["unclipped"](ratio, atarg, kl, C) == pytest.approx([0.5, 0.9, 1.1, 1.5, -0.5, -1.5])
    for name in ("fixed_kl", "adaptive_kl"):
        assert OBJECTIVES[name](ratio, atarg, kl, C).numpy() == pytest.approx(ratio * atarg - 0.7 * kl)


def test_all_objectives_have_the_same_gradient_at_the_old_policy():
    rng = np.random.default_rng(0)
    pi = MlpPolicy("pi", gym.spaces.Box(-1, 1, (3,)), BOX, hid_size=8)
    pi.initialise(rng)
    x = rng.standard_normal((32, 3)).astype(np.float32)
    flat, vpred = pi.forward(x)
    batch = {
        "x": x,
        "ac": rng.standard_normal((32, 2)).astype(np.float32),
        "flatparam": flat,
        "vpred": vpred,
        "atarg": rng.standard_normal(32).astype(np.float32),
        "ret": rng.standard_normal(32).astype(np.float32),
    }
    gradients = {}
    losses = {name: ppo_losses(pi, PPOSettings(objective=name)) for name in OBJECTIVES} | {
        "actor-critic": vpg_losses(pi, VPGSettings(vf_coef=1.0), True)
    }

    def gradient_of(loss, weights):
        with tf.GradientTape() as tape:
            value, _ = loss(batch, tf.constant(weights, tf.float32), tf.constant([0.2, 1.0]))
        return np.concatenate([g.numpy().ravel() for g in tape.gradient(value, pi.get_trainable_variables())])

    for name, loss in losses.items():
        gradients[name] = gradient_of(loss, np.full(32, 1 / 32))
    assert np.abs(gradients["clip"]).max() > 1e-3
    # sums over 32 samples of products through two layers of 8, forwards and backwards, relative to the size of each sample's gradient
    size = np.mean([np.abs(gradient_of(losses["clip"], one_hot)) for one_hot in np.eye(32)], axis=0)
    assert size.max() < 30 * np.abs(gradients["clip"]).max()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(
            gradient, gradients["clip"], rtol=0, atol=gamma(32 + 4 * (8 + LIBM)) * size.max(), err_msg=name
        )


# Two samples of a policy over two actions. Action 0 was taken in both; its probability was 0.5 and 0.5, and is now 0.75 and 0.45.
# Ratios 1.5 and 0.9, advantages 1 and -2; values 1 and 0 for returns of 3 and -1.
TWO_SAMPLES = {
    "x": np.zeros((2, 1), np.float32),
    "ac": np.array([0, 0]),
    "flatparam": np.log(np.float32([[0.5, 0.5], [0.5, 0.5]])),
    "vpred": np.float32([0, 0]),
    "atarg": np.float32([1, -2]),
    "ret": np.float32([3, -1]),
}
NEW = SimpleNamespace(
    pdtype=make_pdtype(gym.spaces.Discrete(2)),
    outputs=lambda x: (tf.constant(np.log(np.float32([[0.75, 0.25], [0.45, 0.55]]))), tf.constant([1.0, 0.0])),
)
SURR = 0.3  # -(min(1.5, 1.2) 1 + 0.9 (-2)) / 2
VF = 2.5  # ((1 - 3)^2 + (0 + 1)^2) / 2
ENT = (0.5623351 + 0.6881388) / 2  # -0.75 ln 0.75 - 0.25 ln 0.25, and -0.45 ln 0.45 - 0.55 ln 0.55
KL = (0.1438410 + 0.0050252) / 2  # -(ln 1.5 + ln 0.5) / 2, and -(ln 0.9 + ln 1.1) / 2
# sums of a few float32 numbers up to 4, some of them logarithms; and the last digit of those above. The reverse KL is 0.07
BY_HAND = ulps(LIBM + 8, 4) + 2e-7


def test_loss_is_equation_9_by_hand():
    loss, terms = ppo_losses(NEW, PPOSettings(entcoeff=0.1, vf_coef=0.5))(
        TWO_SAMPLES, tf.constant([0.5, 0.5]), tf.constant([0.2, 1.0])
    )
    by_hand = {
        "loss_pol_surr": SURR,
        "loss_pol_entpen": -0.1 * ENT,
        "loss_vf_loss": VF,
        "loss_kl": KL,
        "loss_ent": ENT,
        "clipfrac": 0.5,
    }
    assert dict(zip(LOSS_NAMES, terms.numpy())) == pytest.approx(by_hand, rel=0, abs=BY_HAND)
    assert float(loss) == pytest.approx(SURR + 0.5 * VF - 0.1 * ENT, rel=0, abs=BY_HAND)


def test_loss_of_policy_gradients_by_hand():
    loss, _ = vpg_losses(NEW, VPGSettings(entcoeff=0.1, vf_coef=0.5), True)(
        TWO_SAMPLES, tf.constant([0.5, 0.5]), tf.constant([])
    )
    # -(ln 0.75 - 2 ln 0.45) / 2 + 0.5 VF - 0.1 S
    assert float(loss) == pytest.approx(-(-0.2876821 + 2 * 0.7985077) / 2 + 0.5 * VF - 0.1 * ENT, rel=0, abs=BY_HAND)


def test_beta_is_adapted_to_the_kl():
    penalty = AdaptiveKLCoefficient(PPOSettings(objective="adaptive_kl", kl_target=0.03))
    # the bounds are 0.02 and 0.045
    kl_and_beta = [
        (0.019, 0.5),
        (0.021, 0.5),
        (0.044, 0.5),
        (0.046, 1.0),
        (0.5, 2.0),
        (0.03, 2.0),
        (0.0, 1.0),
    ]
    for kl, beta in kl_and_beta:
        penalty.update(kl)
        assert penalty.beta == beta
    penalty = AdaptiveKLCoefficient(PPOSettings(objective="adaptive_kl", kl_min=0.01, kl_max=0.02, beta=4.0))
    for kl, beta in [(0.009, 2.0), (0.011, 2.0), (0.019, 2.0), (0.021, 4.0)]:
        penalty.update(kl)
        assert penalty.beta == beta
    fixed = AdaptiveKLCoefficient(PPOSettings(objective="fixed_kl", beta=3.0))
    fixed.update(100.0)
    assert fixed.beta == 3.0


def test_beta_can_return_from_its_extremes():
    beta = 1.0
    for _ in range(2000):
        beta = adapt_kl_coefficient(beta, 0.0, 0.01, 0.02)
    assert 0 < beta < 1e-15 and adapt_kl_coefficient(beta, 1.0, 0.01, 0.02) == 2 * beta
    for _ in range(2000):
        beta = adapt_kl_coefficient(beta, 1.0, 0.01, 0.02)
    assert 1e15 < beta < float("inf")
