"""`learn` as a Python caller meets it: limits, callbacks, options, refusals; twice in one process."""

import exact_networks
import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from logs import Rows
from small_envs import Identity, Ragged
from small_policies import uncompiled
from tolerance import gamma, ulps

from baselines_ppo import CnnPolicy, MlpPolicy, Policy, StopTraining, UserError, learn, load_policy
from common.loggers.logger import Logger
from common.optim.minibatch_optimizer import MinibatchOptimizer

SMALL = {"timesteps_per_actorbatch": 64, "optim_batchsize": 32, "optim_epochs": 2, "seed": 3}


def weights(pi):
    return np.concatenate([v.numpy().ravel() for v in pi.get_trainable_variables()])


class Linear(Policy):
    """A policy of a user's own: one matrix, for the policy and the value."""

    def __init__(self, name, ob_space, ac_space):
        super().__init__(name, ob_space, ac_space)
        self.w = tf.Variable(tf.zeros([self.encoder.shape[0], self.pdtype.param_shape()[0] + 1]), name="w")

    def forward(self, ob):
        out = tf.cast(ob, tf.float32) @ self.w
        return out[:, :-1], out[:, -1]


@pytest.mark.parametrize(
    "limit, name, expected",
    [({"max_timesteps": 130}, "TimestepsSoFar", 192), ({"max_iters": 2}, "TimestepsSoFar", 128)],
)
def test_ends_with_the_iteration_that_reaches_its_limit(limit, name, expected):
    log = Rows()
    learn(Ragged(), uncompiled, logger=Logger([log]), **SMALL, **limit)
    assert log.rows[-1][name] == expected


def test_ends_by_episodes_and_by_seconds():
    log = Rows()
    learn(Ragged(), uncompiled, logger=Logger([log]), max_episodes=15, **SMALL)
    assert log.rows[-1]["EpisodesSoFar"] >= 15 > log.rows[-2]["EpisodesSoFar"]
    learn(Ragged(), uncompiled, logger=Logger([log]), max_seconds=0.01, **SMALL)


def test_two_runs_in_one_process_are_the_same_to_the_bit():
    first, second = (learn(Ragged(), uncompiled, max_iters=2, **SMALL) for _ in range(2))
    assert (weights(first) == weights(second)).all()


def test_without_a_seed_numpys_global_one_decides_and_the_log_says_which(caplog):
    results = []
    for numpy_seed in (5, 5, 6):
        np.random.seed(numpy_seed)
        with caplog.at_level("INFO", "baselines_ppo"):
            results.append(weights(learn(Ragged(), uncompiled, max_iters=1, **SMALL | {"seed": None})))
    assert (results[0] == results[1]).all() and (results[0] != results[2]).any()
    said = caplog.messages[-1]
    again = learn(Ragged(), uncompiled, max_iters=1, **SMALL | {"seed": int(said.partition("seed=")[2])})
    assert (weights(again) == results[2]).all() and len(caplog.messages) == 3


def test_a_callback_reads_baselines_names_and_stops_the_run():
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
            assert local["seg"]["ob"].shape == (64, 2) and local["seg"]["ac"].shape == (
                64,
                2,
            )  # no environment axis for an Env
            assert local["seg"]["x"].shape == (64, 2) and local["seg"]["flatparam"].shape == (
                64,
                4,
            )  # which these never had
        return local["iters_so_far"] == 2

    learn(Ragged(), uncompiled, callback=callback, max_iters=10, **SMALL)
    assert seen == [0, 1, 2]

    def raises(local, _):
        if local["iters_so_far"] == 1:
            raise StopTraining

    log = Rows()
    learn(Ragged(), uncompiled, callback=raises, logger=Logger([log]), max_iters=10, **SMALL)
    assert len(log.rows) == 1


def test_every_option_trains_together_with_the_others():
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


def test_recomputed_advantages_leave_what_was_before_the_update_as_it_was(monkeypatch):
    """V is clipped around the value of the policy that acted, in all epochs, and the log's explained variance is of that value."""
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
def test_vf_stepsize_moves_what_v_alone_depends_on_and_nothing_else(shared):
    """Adam's first step is the step size against the sign of the gradient; the moments are the same whatever the step size."""

    def weights_of(pi):
        return {x.name: x.numpy() for x in pi.get_trainable_variables()}

    def moved(**options):
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

    plain, own = moved(), moved(vf_stepsize=3e-3)  # the policy's is 3e-4
    assert any(name.startswith("vf/") for name in plain)
    for name, change in plain.items():
        # 3e-4 away from numbers below 4, in both runs: each change is rounded with them, by half an ulp
        factor = 10 if name.startswith("vf/") else 1
        np.testing.assert_allclose(own[name], factor * change, atol=(factor + 1) * ulps(0.5, 4), rtol=gamma(8))


def test_vf_stepsize_needs_variables_of_vs_own():
    with pytest.raises(UserError, match="vf_stepsize"):
        learn(Ragged(), Linear, max_iters=1, vf_stepsize=1e-3, **SMALL)


def test_target_kl_ends_the_epochs_early():
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


def test_the_whole_segment_is_one_minibatch_when_none_is_asked():
    learn(Ragged(), uncompiled, max_iters=1, **SMALL | {"optim_batchsize": None})


@pytest.mark.parametrize(
    "wrong, part",
    [
        ({"max_iters": 1, "max_timesteps": 5}, "must be exactly one of"),
        ({}, "none"),
        ({"max_iters": -1}, "negative"),
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
def test_a_wrong_setting_is_refused_before_the_first_step(wrong, part):
    class Untouched(Ragged):
        def step(self, action):
            raise AssertionError("stepped")

    with pytest.raises(UserError, match=part) as error:
        learn(Untouched(), uncompiled, **SMALL | wrong)
    assert "\n" not in str(error.value)


def test_what_is_no_environment_or_no_policy_is_refused_with_the_fix():
    class OldGym:
        observation_space = Ragged.observation_space
        action_space = Ragged.action_space

    with pytest.raises(UserError, match="gymnasium"):
        learn(OldGym(), uncompiled, max_iters=1, **SMALL)
    with pytest.raises(UserError, match="forward"):
        learn(Ragged(), lambda *args: object(), max_iters=1, **SMALL)

    class SaysNothing(gym.vector.SyncVectorEnv):
        metadata = {}

    env = SaysNothing([Ragged])
    env.metadata = {}
    with pytest.raises(UserError, match="autoreset_mode"):
        learn(env, uncompiled, max_iters=1, **SMALL)


SPACES = [
    gym.spaces.Discrete(3, start=2),
    gym.spaces.MultiDiscrete([2, 3]),
    gym.spaces.MultiBinary(2),
    gym.spaces.Box(-1, 1, (2, 2), np.float32),
    gym.spaces.Box(-1, 1, (), np.float32),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_every_kind_of_space_trains_saves_and_loads(space, tmp_path):
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


def test_acting_in_numpy_and_in_tensorflow_agree():
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
                wanted = exact_networks.gaussian_sample(pi.pdtype, exact, noise[0])
                exact_networks.assert_within(acted, wanted)
                exact_networks.assert_within(compiled, wanted)
            else:  # scores lead each other by more than they may be off: this seed's do, by 0.01 and more of noise that no processor changes
                assert exact.error.max() < 1e-4
                np.testing.assert_array_equal(acted, compiled)


def test_a_policy_of_ones_own_needs_variables_and_forward():
    pi = learn(Ragged(), Linear, max_iters=2, **SMALL)
    assert np.abs(pi.w.numpy()).max() > 0


def test_mlp_policy_starts_as_baselines_does():
    pi = MlpPolicy("pi", Ragged.observation_space, Ragged.action_space, hid_size=64, num_hid_layers=2)
    w = {name: v.numpy() for name, v in pi.weights.items()}
    for name, norm in (
        ("pol/fc1/w", 1),
        ("pol/final/w", 0.01),
        ("vf/final/w", 1),
    ):  # float32 squares of up to 64 rows, and their root
        np.testing.assert_allclose(np.linalg.norm(w[name], axis=0), norm, rtol=gamma(64 + 4))
    assert all((x == 0).all() for name, x in w.items() if name.endswith("/b") or name == "pol/logstd")


def test_images_need_cnn_policy_and_cnn_policy_images():
    with pytest.raises(UserError, match="needs images"):
        CnnPolicy("pi", Ragged.observation_space, Ragged.action_space)
