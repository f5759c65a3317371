"""Non-finite numbers stop a run before a checkpoint and name the first minibatch with one; a post-mortem file reproduces it."""

import json
import os
import re

import gymnasium as gym
import jobs
import numpy as np
import pytest
import tensorflow as tf
from broken_policies import Breaks, InfiniteGradient, Sharp, breaks_at_2, failure
from exact_networks import mlp
from faulty_envs import Faulty
from small_envs import Identity
from small_policies import TinyMlp

from baselines_ppo import MlpPolicy, load_policy, pposgd_simple, trpo_mpi, vpg
from baselines_ppo.experiment.callbacks import BestPolicy, SaveBestCallback
from baselines_ppo.objectives import value_loss
from common.diagnostics.crash_dump import FORMAT
from common.storage.array_files import load_arrays
from common.training.callbacks import Callback

DISCRETE = gym.spaces.Discrete(3)


@pytest.mark.parametrize("averaging", ["gather", "average"])
def test_broken_forward_is_named_and_leaves_the_last_good_state(averaging, tmp_path):
    error = failure(Identity(DISCRETE), Breaks, folder=tmp_path, callback=breaks_at_2, averaging=averaging, max_iters=5)
    path = tmp_path / "post-mortem/iteration-00000002.safetensors"
    assert str(error) == (
        "loss_pol_surr is nan, in minibatch 0 of epoch 0 of iteration 2, where a value of the policy that acted is nan; its forward returned "
        f"that for a finite observation: fix it, or take a smaller step size; post-mortem: {path}, described in common/diagnostics/crash_dump.py"
    )
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == [
        "ckpt-00000001.safetensors",
        "ckpt-00000002.safetensors",
    ]
    last = Breaks.load(tmp_path / "checkpoints/ckpt-00000002.safetensors")
    at_start = Breaks.load(path)
    for one, other in zip(last.get_trainable_variables(), at_start.get_trainable_variables()):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("averaging", ["gather", "average"])
def test_non_finite_gradient_is_found_if_the_loss_is_finite(averaging):
    error = failure(Identity(DISCRETE), InfiniteGradient, averaging=averaging)
    assert str(error).startswith(
        "a gradient is nan, though the terms of the loss are finite, in minibatch 0 of epoch 0 of iteration 0, with "
    )


@pytest.mark.parametrize("averaging", ["gather", "average"])
def test_huge_step_is_found_in_the_next_minibatch_which_the_dump_reproduces(averaging, tmp_path):
    error = failure(
        Identity(gym.spaces.Box(-1, 1, (1,), np.float32)), folder=tmp_path, optim_stepsize=1e30, averaging=averaging
    )
    assert " in minibatch 1 of epoch 0 of iteration 0, with value targets up to " in str(
        error
    ) and "; take a smaller step size; post-mortem: " in str(error)
    path = next((tmp_path / "post-mortem").iterdir())
    arrays, metadata = load_arrays(path, FORMAT)
    assert (
        metadata["minibatch"] == "minibatch 1 of epoch 0"
        and metadata["stepsize"] == pytest.approx(1e30)
        and metadata["iteration"] == 0
    )
    pi = TinyMlp.load(path)
    assert np.isfinite(np.concatenate([x.numpy().ravel() for x in pi.get_variables()])).all()
    pi.restore({name.removeprefix("then/pi/"): x for name, x in arrays.items() if name.startswith("then/pi/")})
    assert max(np.abs(x.numpy()).max() for x in pi.get_variables()) > 1e29  # one step has been made
    flat, vpred = pi.forward(arrays["minibatch/x"])
    vf_loss = float(tf.reduce_sum(arrays["minibatch/weights"] * value_loss(vpred, arrays["minibatch/ret"])))
    np.testing.assert_equal(vf_loss, metadata["terms"]["loss_vf_loss"])
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
def test_all_objectives_stop(settings):
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
def test_all_algorithms_report_rewards_that_are_too_large(algorithm, settings, part):
    error = failure(Faulty(reward=1e30), algorithm=algorithm, **settings)
    assert part in str(error) and "scale the rewards to the order of 1: scale_returns=True" in str(error)


@pytest.mark.parametrize("algorithm, settings", [(pposgd_simple, {}), (trpo_mpi, {"timesteps_per_batch": 64})])
def test_rewards_beyond_float32_are_reported_without_other_warnings(algorithm, settings, recwarn):
    error = failure(Faulty(reward=1e300), algorithm=algorithm, **settings)
    assert ", where a value target is inf" in str(error) and not [
        one for one in recwarn if issubclass(one.category, RuntimeWarning)
    ]


def test_overflowing_statistics_stop_the_run():
    assert ", where a value target is nan; scale the rewards to the order of 1" in str(
        failure(Faulty(reward=1e300), scale_returns=True)
    )
    assert re.match(
        "pi/ob_rms/var is (inf|nan) at the end of iteration 0; ", str(failure(Faulty(scale=1e200, wide=True)))
    )


def test_parameter_without_influence_on_the_loss_is_checked_before_a_checkpoint(tmp_path):
    def spoils(names, _):
        names["pi"].broken.assign(-np.inf if names["iters_so_far"] == 2 else 0.0)

    error = failure(Identity(DISCRETE), Breaks, folder=tmp_path, callback=spoils)
    assert "Variable is -inf at the end of iteration 2; " in str(error)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_nan_set_by_a_callback_is_in_no_checkpoint_and_no_best_policy(tmp_path):
    class Spoils(Callback):
        def after_iteration(self, training, stats):
            if training.iters_so_far == 2:
                training.pi.broken.assign(np.nan)

    error = failure(
        Identity(DISCRETE),
        Breaks,
        folder=tmp_path,
        callback=[Spoils(), SaveBestCallback(BestPolicy(tmp_path, "EpRewMean"))],
        checkpoint_every=2,
    )
    assert str(error).startswith("pi/") and "Variable is nan at the end of iteration 1; " in str(error)
    assert not list((tmp_path / "checkpoints").iterdir()) and not (tmp_path / "best").exists()


@pytest.mark.parametrize(
    "policy, callback, message",
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
def test_trpo_names_what_is_not_finite_and_dumps_the_segment(policy, callback, message, tmp_path):
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
    assert str(error).startswith(message)
    (path,) = (tmp_path / "post-mortem").iterdir()
    arrays, metadata = load_arrays(path, FORMAT)
    assert metadata["minibatch"] == "the whole segment" and set(metadata["terms"]) == set(trpo_mpi.TERM_NAMES)
    assert len(arrays["minibatch/x"]) == 64 and arrays["minibatch/weights"].sum() == 1  # exact: powers of two
    pi = policy.load(path)
    error = mlp(pi, arrays["minibatch/x"], prepared=True)[0].error.max()  # of the logits, in each of two graphs
    np.testing.assert_allclose(
        pi.forward(arrays["minibatch/x"])[0], arrays["minibatch/flatparam"], rtol=0, atol=2 * error
    )
    assert error < 1e-5  # no step was made; one would change outputs by about 0.1


def test_nan_action_is_reported_as_the_policys_error_not_the_environments(tmp_path):
    class Acts(Breaks):
        def forward(self, ob):
            flat, vpred = super().forward(ob)
            return tf.where(self.broken > 0, np.nan, flat), vpred

        def actor(self, num_envs, noise):
            return super(MlpPolicy, self).actor(num_envs, noise)  # acts through forward

    error = failure(Identity(gym.spaces.Box(-1, 1, (1,), np.float32)), Acts, callback=breaks_at_2, folder=tmp_path)
    assert str(error).startswith(
        "the policy gave environment 0 the action [nan], at a finite observation, at step 0 of the segment of iteration 2; "
    )
    path = tmp_path / "post-mortem/iteration-00000002.safetensors"
    arrays, metadata = load_arrays(path, FORMAT)
    assert (metadata["step"], metadata["environment"], metadata["minibatch"]) == (0, 0, None) and not any(
        name.startswith("segment/") for name in arrays
    )
    assert np.isnan(Acts.load(path).forward(arrays["acted/ob"])[0]).all()  # the file reproduces it
    assert np.isnan(arrays["acted/ac"]).all() and np.isfinite(arrays["acted/ob"]).all()


@pytest.mark.parametrize("averaging", ["gather", "average"])
def test_all_ranks_stop_together_and_report_once(averaging, tmp_path):
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
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(jobs.ROOT), jobs.SUPPORT))},
    )
    reports = [line for line in finished.stderr.splitlines() if line.startswith("rank ")]
    path = tmp_path / "post-mortem/iteration-00000001.safetensors"
    assert finished.returncode != 0 and len(reports) == 1 and reports[0].startswith("rank 0 on host ")
    assert (
        " of iteration 1, where a value target is inf; scale the rewards to the order of 1: --reward-scale X"
        in reports[0]
    )
    assert f"post-mortem: {path}, described in" in reports[0]
    arrays, _ = load_arrays(path, FORMAT)
    assert (
        len(arrays["minibatch/ret"]) == 32
        and not np.isfinite(arrays["minibatch/ret"][16:]).all()
        and np.abs(arrays["minibatch/ret"][:16]).max() < 1e3
    )
    load_policy(tmp_path / "checkpoints/ckpt-00000001.safetensors")
