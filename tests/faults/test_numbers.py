"""Numbers that are not finite stop a run before a checkpoint, by the name of the first minibatch that had one; a post-mortem shows it again."""

import json
import os
import re

import gymnasium as gym
import jobs
import numpy as np
import pytest
import tensorflow as tf
from exact_networks import mlp
from faulty_envs import Faulty
from logs import Rows
from small_envs import Identity

from baselines_ppo import MlpPolicy, load_policy, pposgd_simple, trpo_mpi, vpg
from baselines_ppo.experiment.callbacks import Best, SaveBestCallback
from baselines_ppo.objectives import value_loss
from common.diagnostics.crash_dump import FORMAT
from common.errors import NonFiniteError
from common.loggers.logger import Logger
from common.runs.run_directory import RunDirectory
from common.storage.array_files import load_arrays
from common.training.callbacks import Callback

PPO = {"timesteps_per_actorbatch": 64, "optim_batchsize": 16, "optim_epochs": 2}
DISCRETE = gym.spaces.Discrete(3)


class Plain(MlpPolicy):
    """Without XLA: started in half the time."""

    xla = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{"hid_size": 4, "num_hid_layers": 1} | kwargs)


def train(env, policy=Plain, algorithm=pposgd_simple, folder=None, **settings):
    """The rows of a run's log."""
    log = Rows()
    own = {"max_iters": 3, "seed": 1, "checkpoint_every": 1} | (PPO if algorithm is pposgd_simple else {})
    algorithm.learn(env, policy, logger=Logger([log]), folder=folder and RunDirectory(folder), **own | settings)
    return log.rows


def failure(*args, **kwargs):
    with pytest.raises(NonFiniteError) as caught:
        train(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return caught.value


class Breaks(Plain):
    """Its value is NaN once `broken` is set, which it is from iteration 2 on."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.broken = tf.Variable(0.0, trainable=False)

    def forward(self, ob):
        flat, vpred = super().forward(ob)
        return flat, tf.where(self.broken > 0, np.nan, vpred)


def breaks_at_2(names, _):
    names["pi"].broken.assign(float(names["iters_so_far"] >= 2))


@pytest.mark.parametrize("averaging", ["gather", "average"])
def test_a_forward_that_breaks_is_named_and_leaves_the_last_good_state(averaging, tmp_path):
    error = failure(Identity(DISCRETE), Breaks, folder=tmp_path, callback=breaks_at_2, averaging=averaging, max_iters=5)
    path = tmp_path / "post-mortem/iteration-00000002.safetensors"
    assert str(error) == (
        "loss_pol_surr is nan, in minibatch 0 of epoch 0 of iteration 2, where a value of the policy that acted is nan; its forward returned "
        f"that for a finite observation: fix it, or take a smaller step size; post-mortem: {path}, described in common/diagnostics/crash_dump.py"
    )
    assert [one.name for one in sorted((tmp_path / "checkpoints").iterdir())] == [
        "ckpt-00000001.safetensors",
        "ckpt-00000002.safetensors",
    ]
    last = Breaks.load(tmp_path / "checkpoints/ckpt-00000002.safetensors")
    at_start = Breaks.load(path)
    for one, other in zip(last.get_trainable_variables(), at_start.get_trainable_variables()):
        np.testing.assert_array_equal(one, other)


class NoGradient(Plain):
    """From iteration 1 on a loss that is finite, whose gradient is not: a square root's at 0."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.one = tf.Variable(1.0)

    def forward(self, ob):
        flat, vpred = super().forward(ob)
        return flat, vpred + tf.sqrt(0.0 * self.one)


@pytest.mark.parametrize("averaging", ["gather", "average"])
def test_a_gradient_that_is_not_finite_is_found_though_the_loss_is(averaging):
    error = failure(Identity(DISCRETE), NoGradient, averaging=averaging)
    assert str(error).startswith(
        "a gradient is nan, though the terms of the loss are finite, in minibatch 0 of epoch 0 of iteration 0, with "
    )


@pytest.mark.parametrize("averaging", ["gather", "average"])
def test_an_enormous_step_is_found_in_the_next_minibatch_which_can_be_seen_again(averaging, tmp_path):
    error = failure(
        Identity(gym.spaces.Box(-1, 1, (1,), np.float32)), folder=tmp_path, optim_stepsize=1e30, averaging=averaging
    )
    assert " in minibatch 1 of epoch 0 of iteration 0, with value targets up to " in str(
        error
    ) and "; take a smaller step size; post-mortem: " in str(error)
    path = next((tmp_path / "post-mortem").iterdir())
    arrays, said = load_arrays(path, FORMAT)
    assert (
        said["minibatch"] == "minibatch 1 of epoch 0"
        and said["stepsize"] == pytest.approx(1e30)
        and said["iteration"] == 0
    )
    pi = Plain.load(path)
    assert np.isfinite(np.concatenate([x.numpy().ravel() for x in pi.get_variables()])).all()
    pi.restore({name.removeprefix("then/pi/"): x for name, x in arrays.items() if name.startswith("then/pi/")})
    assert max(np.abs(x.numpy()).max() for x in pi.get_variables()) > 1e29  # one step was made
    flat, vpred = pi.forward(arrays["minibatch/x"])
    vf_loss = float(tf.reduce_sum(arrays["minibatch/weights"] * value_loss(vpred, arrays["minibatch/ret"])))
    np.testing.assert_equal(vf_loss, said["terms"]["loss_vf_loss"])
    rows = arrays["minibatch/rows"]
    np.testing.assert_array_equal(arrays["segment/ac"].reshape(64, -1)[rows], arrays["minibatch/ac"])
    assert arrays["then/adam/t"] == 1 and (averaging == "average" or arrays["start/t"] == 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": "adaptive_kl"},
        {"objective": "fixed_kl"},
        {"objective": "unclipped"},
        {"target_kl": 0.1},
        {"max_grad_norm": 0.5},
    ],
    ids=lambda one: next(iter(one)),
)
def test_every_objective_stops(settings):
    assert "minibatch 1 of epoch 0" in str(failure(Identity(DISCRETE), optim_stepsize=1e38, **settings))


@pytest.mark.parametrize(
    "algorithm, settings, part",
    [
        (pposgd_simple, {}, "loss_vf_loss is inf, in minibatch 0 of epoch 0 of iteration 0, with value targets up to "),
        (
            trpo_mpi,
            {"timesteps_per_batch": 64, "vf_batchsize": 16},
            "loss_vf_loss is inf, in minibatch 0 of epoch 0 of iteration 0, with value targets up to ",
        ),
        (
            vpg,
            {"timesteps_per_actorbatch": 64, "vf_batchsize": 16},
            "loss_vf_loss is inf, in minibatch 0 of epoch 0 of iteration 0, with value targets up to ",
        ),
    ],
)
def test_rewards_too_large_for_the_loss_are_blamed_by_every_algorithm(algorithm, settings, part):
    error = failure(Faulty(reward=1e30), algorithm=algorithm, **settings)
    assert part in str(error) and "scale the rewards to the order of 1: scale_returns=True" in str(error)


@pytest.mark.parametrize("algorithm, settings", [(pposgd_simple, {}), (trpo_mpi, {"timesteps_per_batch": 64})])
def test_rewards_beyond_float32_are_blamed_and_warn_of_nothing_else(algorithm, settings, recwarn):
    error = failure(Faulty(reward=1e300), algorithm=algorithm, **settings)
    assert ", where a value target is inf" in str(error) and not [
        one for one in recwarn if issubclass(one.category, RuntimeWarning)
    ]


def test_statistics_that_overflow_stop_the_run_before_all_is_scaled_to_nothing():
    assert ", where a value target is nan; scale the rewards to the order of 1" in str(
        failure(Faulty(reward=1e300), scale_returns=True)
    )
    assert re.match(
        "pi/ob_rms/var is (inf|nan) at the end of iteration 0; ", str(failure(Faulty(scale=1e200, wide=True)))
    )


def test_a_parameter_that_no_loss_sees_is_found_before_the_checkpoint(tmp_path):
    def spoils(names, _):
        names["pi"].broken.assign(-np.inf if names["iters_so_far"] == 2 else 0.0)

    error = failure(Identity(DISCRETE), Breaks, folder=tmp_path, callback=spoils)
    assert "Variable is -inf at the end of iteration 2; " in str(error)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_what_a_callback_makes_nan_reaches_no_checkpoint_and_no_best_policy(tmp_path):
    class Spoils(Callback):
        def after_iteration(self, training, stats):
            if training.iters_so_far == 2:
                training.pi.broken.assign(np.nan)

    error = failure(
        Identity(DISCRETE),
        Breaks,
        folder=tmp_path,
        callback=[Spoils(), SaveBestCallback(Best(tmp_path, "EpRewMean"))],
        checkpoint_every=2,
    )
    assert str(error).startswith("pi/") and "Variable is nan at the end of iteration 1; " in str(error)
    assert not list((tmp_path / "checkpoints").iterdir()) and not (tmp_path / "best").exists()


class Sharp(Plain):
    """Its KL is finite and has a gradient; the second derivative, which TRPO's Fisher matrix is, is not: of x^1.5 at 0."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.one = tf.Variable(1.0)

    def forward(self, ob):
        flat, vpred = super().forward(ob)
        return flat + tf.pow(tf.abs(self.one - 1.0), 1.5), vpred


@pytest.mark.parametrize(
    "policy, callback, says",
    [
        (
            Sharp,
            None,
            "a product with the Fisher matrix is not finite, though the surrogate and its gradient are, before the policy's step of iteration 0, with ",
        ),
        (
            Breaks,
            breaks_at_2,
            "the surrogate is nan, before the policy's step of iteration 2, where a value of the policy that acted is nan; its forward ",
        ),
    ],
    ids=["Fisher", "surrogate"],
)
def test_trpo_names_what_is_not_finite_before_its_step_and_leaves_the_segment(policy, callback, says, tmp_path):
    error = failure(
        Identity(DISCRETE),
        policy,
        trpo_mpi,
        folder=tmp_path,
        callback=callback,
        timesteps_per_batch=64,
        vf_batchsize=16,
        max_iters=4,
    )
    assert str(error).startswith(says)
    (path,) = (tmp_path / "post-mortem").iterdir()
    arrays, said = load_arrays(path, FORMAT)
    assert said["minibatch"] == "the whole segment" and set(said["terms"]) == set(trpo_mpi.TERM_NAMES)
    assert len(arrays["minibatch/x"]) == 64 and arrays["minibatch/weights"].sum() == 1  # powers of two: exact
    pi = policy.load(path)
    error = mlp(pi, arrays["minibatch/x"], prepared=True)[0].error.max()  # each of two graphs' logits
    np.testing.assert_allclose(
        pi.forward(arrays["minibatch/x"])[0], arrays["minibatch/flatparam"], rtol=0, atol=2 * error
    )
    assert error < 1e-5  # it has not moved: a step makes 0.1 of it


def test_a_policy_that_acts_with_nan_is_blamed_rather_than_the_environment_that_minds(tmp_path):
    class Acts(Breaks):
        def forward(self, ob):
            flat, vpred = super().forward(ob)
            return tf.where(self.broken > 0, np.nan, flat), vpred

        def actor(self, num_envs, noise):
            return super(MlpPolicy, self).actor(num_envs, noise)  # through forward

    error = failure(Identity(gym.spaces.Box(-1, 1, (1,), np.float32)), Acts, callback=breaks_at_2, folder=tmp_path)
    assert str(error).startswith(
        "the policy gave environment 0 the action [nan], at a finite observation, at step 0 of the segment of iteration 2; "
    )
    path = tmp_path / "post-mortem/iteration-00000002.safetensors"
    arrays, said = load_arrays(path, FORMAT)
    assert (said["step"], said["environment"], said["minibatch"]) == (0, 0, None) and not any(
        name.startswith("segment/") for name in arrays
    )
    assert np.isnan(Acts.load(path).forward(arrays["acted/ob"])[0]).all()  # it is seen again
    assert np.isnan(arrays["acted/ac"]).all() and np.isfinite(arrays["acted/ob"]).all()


class Constant(gym.Env):
    """One observation, one reward; episodes of 5."""

    def __init__(self, space, reward=1.0):
        self.observation_space, self.action_space, self.reward = gym.spaces.Box(-9, 9, (2,), np.float32), space, reward

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.float32([7, 7]), {}

    def step(self, action):
        self.steps += 1
        return np.float32([7, 7]), self.reward, False, self.steps == 5, {}


def certain(*args):
    """Logits of 1e4 and more, where all but one probability is 0."""
    pi = Plain(*args)
    pi.weights["pol/final/b"].assign(np.linspace(-1e4, 1e4, pi.num_outputs).astype(np.float32))
    pi.initialise = lambda rng: None
    return pi


@pytest.mark.parametrize(
    "env, policy",
    [
        (Constant(gym.spaces.Discrete(1)), Plain),
        (Constant(gym.spaces.Box(0, 0, (2,), np.float32), reward=0.0), Plain),
        (Identity(DISCRETE), certain),
        (Constant(gym.spaces.MultiBinary(3)), certain),
        (Constant(gym.spaces.MultiDiscrete([1, 4])), certain),
        (Faulty(scale=1e30), Plain),
        (Faulty(length=1, dies=True), Plain),
        (Faulty(length=1), Plain),
        (Faulty(length=0), Plain),
    ],
    ids=[
        "one action",
        "no width",
        "certain",
        "certain bits",
        "certain factors",
        "1e30",
        "dies at once",
        "cut at once",
        "never ends",
    ],
)
def test_what_is_degenerate_trains_without_nan(env, policy):
    kept = []
    trpo = (
        [(trpo_mpi, {"timesteps_per_batch": 64})] if isinstance(env, Constant) or policy is certain else []
    )  # where its Fisher matrix is 0
    for algorithm, settings in ((pposgd_simple, {}), *trpo):
        rows = train(env, lambda *args: kept.append(policy(*args)) or kept[-1], algorithm, **settings)
        assert len(rows) == 3
        losses = [
            value
            for row in rows
            for name, value in row.items()
            if name.startswith("loss") or name in ("stepsize", "improvement")
        ]
        assert np.isfinite(losses).all() and all(np.isfinite(x.numpy()).all() for x in kept[-2].get_variables())
        if isinstance(env, Faulty) and env.length == 0:
            assert np.isnan(rows[-1]["EpRewMean"]) and rows[-1]["EpisodesSoFar"] == 0


@pytest.mark.parametrize("averaging", ["gather", "average"])
def test_all_ranks_stop_together_and_say_it_once(averaging, tmp_path):
    kwargs = json.dumps({"fault": "rew_huge", "at": 50, "on_rank": 1})
    finished = jobs.run(
        2,
        jobs.RUN_UNCOMPILED,
        "--env",
        "faulty_envs:Faulty-v0",
        "--env-kwargs",
        kwargs,
        "--num-envs",
        "1",
        "--batch",
        "per-rank",
        "--averaging",
        averaging,
        "--timesteps-per-actorbatch",
        "32",
        "--optim-batchsize",
        "16",
        "--hid-size",
        "4",
        "--scale-returns",
        "false",
        "--max-iters",
        "4",
        "--checkpoint-every",
        "1",
        "--report",
        "false",
        "--quiet",
        "--run-dir",
        str(tmp_path),
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(jobs.ROOT), str(jobs.ROOT / "tests/support")))},
    )
    said = [line for line in finished.stderr.splitlines() if line.startswith("rank ")]
    path = tmp_path / "post-mortem/iteration-00000001.safetensors"
    assert finished.returncode != 0 and len(said) == 1 and said[0].startswith("rank 0 on host ")
    assert " of iteration 1, where a value target is inf; bring" in said[0]
    assert f"post-mortem: {path}, described in" in said[0]
    arrays, _ = load_arrays(path, FORMAT)
    assert (
        len(arrays["minibatch/ret"]) == 32
        and not np.isfinite(arrays["minibatch/ret"][16:]).all()
        and np.abs(arrays["minibatch/ret"][:16]).max() < 1e3
    )
    load_policy(tmp_path / "checkpoints/ckpt-00000001.safetensors")
