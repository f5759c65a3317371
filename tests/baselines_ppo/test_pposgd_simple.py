"""`learn` called from Python: limits, callbacks, options, invalid arguments, several trainings in one process."""

import gymnasium as gym
import numpy as np
import pytest
from logs import Rows
from small_envs import Ragged
from small_policies import Linear, uncompiled
from tolerance import gamma, ulps

from baselines_ppo import MlpPolicy, StopTraining, UserError, learn
from common.loggers.logger import Logger
from common.optim.minibatch_optimizer import MinibatchOptimizer

SMALL = {"timesteps_per_actorbatch": 64, "optim_batchsize": 32, "optim_epochs": 2, "seed": 3}


def weights(pi):
    return np.concatenate([v.numpy().ravel() for v in pi.get_trainable_variables()])


@pytest.mark.parametrize(
    "limit, name, expected",
    [({"max_timesteps": 130}, "TimestepsSoFar", 192), ({"max_iters": 2}, "TimestepsSoFar", 128)],
)
def test_training_stops_after_the_iteration_that_reaches_the_limit(limit, name, expected):
    log = Rows()
    learn(Ragged(), uncompiled, logger=Logger([log]), **SMALL, **limit)
    assert log.rows[-1][name] == expected


def test_training_stops_by_episodes_and_by_seconds():
    log = Rows()
    learn(Ragged(), uncompiled, logger=Logger([log]), max_episodes=15, **SMALL)
    assert log.rows[-1]["EpisodesSoFar"] >= 15 > log.rows[-2]["EpisodesSoFar"]
    learn(Ragged(), uncompiled, logger=Logger([log]), max_seconds=0.01, **SMALL)


def test_two_trainings_in_one_process_are_bit_identical():
    first, second = (learn(Ragged(), uncompiled, max_iters=2, **SMALL) for _ in range(2))
    assert (weights(first) == weights(second)).all()


def test_without_a_seed_one_is_drawn_from_numpys_generator_and_logged(caplog):
    results = []
    for numpy_seed in (5, 5, 6):
        np.random.seed(numpy_seed)
        with caplog.at_level("INFO", "baselines_ppo"):
            results.append(weights(learn(Ragged(), uncompiled, max_iters=1, **SMALL | {"seed": None})))
    assert (results[0] == results[1]).all() and (results[0] != results[2]).any()
    logged_seed = int(caplog.messages[-1].partition("seed=")[2])
    repeated = learn(Ragged(), uncompiled, max_iters=1, **SMALL | {"seed": logged_seed})
    assert (weights(repeated) == results[2]).all() and len(caplog.messages) == 3


def test_callback_gets_baselines_names_and_can_stop_the_training():
    seen = []

    def callback(local, _):
        assert {
            "pi",
            "oldpi",
            "seg",
            "rewbuffer",
            "lenbuffer",
            "timesteps_so_far",
            "episodes_so_far",
            "iters_so_far",
            "tstart",
        } <= local.keys()
        seen.append(local["iters_so_far"])
        if local["seg"] is not None:
            shapes = {name: local["seg"][name].shape for name in ("ob", "ac", "x", "flatparam")}
            # an Env has no environment axis
            assert shapes == {
                "ob": (64, 2),
                "ac": (64, 2),
                "x": (64, 2),
                "flatparam": (64, 4),
            }
        return local["iters_so_far"] == 2

    learn(Ragged(), uncompiled, callback=callback, max_iters=10, **SMALL)
    assert seen == [0, 1, 2]

    def raises(local, _):
        if local["iters_so_far"] == 1:
            raise StopTraining

    log = Rows()
    learn(Ragged(), uncompiled, callback=raises, logger=Logger([log]), max_iters=10, **SMALL)
    assert len(log.rows) == 1


def test_all_options_can_be_combined():
    log = Rows()
    env = gym.vector.SyncVectorEnv([Ragged] * 2, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)
    learn(
        env,
        lambda *args: MlpPolicy(
            *args, hid_size=8, init="orthogonal", init_logstd=-0.5, shared_trunk=True, gaussian_fixed_var=False
        ),
        logger=Logger([log]),
        max_timesteps=256,
        schedule="linear",
        clip_schedule="linear",
        vf_coef=0.5,
        vf_clip=0.2,
        max_grad_norm=0.5,
        target_kl=0.01,
        recompute_adv=True,
        scale_returns=True,
        entcoeff=0.01,
        **SMALL,
    )
    assert len(log.rows) == 4
    assert np.isfinite([value for row in log.rows for value in row.values()]).all()
    assert [row["stepsize"] for row in log.rows] == pytest.approx([3e-4, 2.25e-4, 1.5e-4, 0.75e-4], rel=gamma(4))


def test_recomputed_advantages_keep_old_values_and_explained_variance(monkeypatch):
    """In all epochs, V is clipped around the value of the policy that acted; the logged explained variance is of that value."""
    batches, run_minibatches = [], MinibatchOptimizer.run_minibatches

    def record(self, batch, *args):
        batches.append(batch)
        return run_minibatches(self, batch, *args)

    monkeypatch.setattr(MinibatchOptimizer, "run_minibatches", record)
    logs = {}
    for recompute in (True, False):
        batches.clear()
        logs[recompute] = Rows()
        learn(
            Ragged(),
            uncompiled,
            logger=logs[recompute],
            max_iters=1,
            recompute_adv=recompute,
            vf_clip=0.1,
            **SMALL | {"optim_stepsize": 1e-2},
        )
        if recompute:
            assert len(batches) == SMALL["optim_epochs"] > 1
            assert (
                all((batch["vpred"] == batches[0]["vpred"]).all() for batch in batches)
                and (batches[-1]["ret"] != batches[0]["ret"]).any()
            )
    assert logs[True].rows[0]["ev_tdlam_before"] == logs[False].rows[0]["ev_tdlam_before"]


@pytest.mark.parametrize("shared", [False, True])
def test_vf_stepsize_applies_only_to_variables_of_the_value_function(shared):
    """Adam's first step is the step size against the sign of the gradient; the moments do not depend on the step size."""

    def weights_of(pi):
        return {x.name: x.numpy() for x in pi.get_trainable_variables()}

    def changes(**options):
        start = {}
        pi = learn(
            Ragged(),
            lambda *args: uncompiled(*args, shared_trunk=shared),
            max_iters=1,
            callback=lambda local, _: start or start.update(weights_of(local["pi"])),
            **SMALL | {"optim_epochs": 1, "optim_batchsize": None},
            **options,
        )
        return {name: x - start[name] for name, x in weights_of(pi).items()}

    default, separate = changes(), changes(vf_stepsize=3e-3)  # the policy's step size is 3e-4
    assert any(name.startswith("vf/") for name in default)
    for name, change in default.items():
        # in both trainings, parameters below 4 change by about 3e-4; each change is rounded with them, by half an ulp
        factor = 10 if name.startswith("vf/") else 1
        np.testing.assert_allclose(separate[name], factor * change, atol=(factor + 1) * ulps(0.5, 4), rtol=gamma(8))


def test_vf_stepsize_needs_separate_variables_of_the_value_function():
    with pytest.raises(UserError, match="vf_stepsize"):
        learn(Ragged(), Linear, max_iters=1, vf_stepsize=1e-3, **SMALL)


def test_target_kl_stops_the_epochs_early():
    log = Rows()
    learn(
        Ragged(),
        uncompiled,
        logger=Logger([log]),
        max_iters=1,
        **SMALL | {"optim_epochs": 40, "optim_stepsize": 0.01},
        target_kl=1e-3,
    )
    free = Rows()
    learn(
        Ragged(), uncompiled, logger=Logger([free]), max_iters=1, **SMALL | {"optim_epochs": 40, "optim_stepsize": 0.01}
    )
    assert log.rows[0]["loss_kl"] < free.rows[0]["loss_kl"] / 2


def test_batch_size_none_trains_on_the_whole_segment():
    learn(Ragged(), uncompiled, max_iters=1, **SMALL | {"optim_batchsize": None})


@pytest.mark.parametrize(
    "invalid, message",
    [
        ({"max_iters": 1, "max_timesteps": 5}, "must be exactly one of"),
        ({}, "none"),
        ({"max_iters": -1}, "max_iters=-1: must be positive"),
        ({"max_iters": 1, "optim_batchsize": 65}, "optim_batchsize=65"),
        ({"max_iters": 1, "clip_param": -0.1}, "clip_param=-0.1"),
        ({"max_iters": 1, "schedule": "cosine"}, "cosine"),
        ({"max_iters": 1, "clip_parm": 0.1}, "clip_parm"),
        ({"max_iters": 1, "averaging": "best"}, "best"),
        ({"max_iters": 1, "vf_stepsize": 0.0}, "vf_stepsize=0.0"),
        ({"max_iters": 1, "checkpoint_every": 0}, "checkpoint_every=0"),
        ({"max_iters": 1, "standardise_adv": "false"}, "standardise_adv='false'.* true or false"),
        ({"max_iters": 1, "optim_epochs": 2.5}, "optim_epochs=2.5: must be an integer"),
        ({"max_iters": 1, "gamma": "0.9"}, "gamma='0.9'.* must be a number"),
        ({"max_iters": 1, "checkpoint_every": 2.5}, "checkpoint_every=2.5"),
        ({"max_iters": 1, "env_threads": 0}, "env_threads=0"),
        ({"max_iters": 1, "seed": -1}, "seed=-1"),
        ({"max_iters": 1, "seed": 1.7}, "seed=1.7"),
        ({"max_iters": 1, "target_kl": True}, "target_kl=True"),
    ],
)
def test_invalid_settings_are_rejected_before_the_first_step(invalid, message):
    class Untouched(Ragged):
        def step(self, action):
            raise AssertionError("stepped")

    with pytest.raises(UserError, match=message) as error:
        learn(Untouched(), uncompiled, **SMALL | invalid)
    assert "\n" not in str(error.value)


def test_invalid_environment_or_policy_is_rejected_with_the_fix():
    class OldGym:
        observation_space = Ragged.observation_space
        action_space = Ragged.action_space

    with pytest.raises(UserError, match="gymnasium"):
        learn(OldGym(), uncompiled, max_iters=1, **SMALL)
    with pytest.raises(UserError, match="forward"):
        learn(Ragged(), lambda *args: object(), max_iters=1, **SMALL)

    class WithoutAutoresetMode(gym.vector.SyncVectorEnv):
        metadata = {}

    env = WithoutAutoresetMode([Ragged])
    env.metadata = {}
    with pytest.raises(UserError, match="autoreset_mode"):
        learn(env, uncompiled, max_iters=1, **SMALL)
