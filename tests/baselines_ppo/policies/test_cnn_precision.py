"""CnnPolicy and MixedPolicy in bfloat16: what stays float32, invariant 1, files, exports, runs and ranks."""

import json
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from catch_env import TRAINING, Catch, catch_rate, images, random_images
from tolerance import ulps

from baselines_ppo import CnnPolicy, learn, pposgd_simple
from baselines_ppo.export.graph import policy_functions
from baselines_ppo.networks.mixed_policy import MixedPolicy
from baselines_ppo.policy_registry import load_policy
from common.errors import UserError
from common.policies.layers import precision
from common.policies.policy_pair import build_policies
from common.vec_env.in_process import InProcessVectorEnv

DISCRETE = gym.spaces.Discrete(3)
IMAGES = images(84, 84, 1)
SHORT = {"optim_batchsize": 16, "optim_epochs": 2, "timesteps_per_actorbatch": 64, "max_iters": 2, "seed": 0}
BUILD = {
    "cnn": lambda name: CnnPolicy("pi", IMAGES, DISCRETE, kind="small", precision=name),
    "mixed": lambda name: MixedPolicy(
        "pi", gym.spaces.Dict(camera=IMAGES, speed=gym.spaces.Box(-1, 1, (2,))), DISCRETE, kind="small", precision=name
    ),
}


def observations(pi, count):
    obs = random_images(IMAGES, count)
    if isinstance(pi, CnnPolicy):
        return obs
    return {"camera": obs, "speed": np.random.default_rng(0).uniform(-1, 1, (count, 2)).astype(np.float32)}


@pytest.mark.parametrize("kind", BUILD)
def test_variables_and_outputs_are_float32_and_only_products_are_rounded(kind):
    exact, rounded = BUILD[kind]("float32"), BUILD[kind]("bfloat16")
    assert all(v.dtype == tf.float32 for v in rounded.get_variables() if v.dtype.is_floating and "rms" not in v.name)
    for v, other in zip(exact.get_trainable_variables(), rounded.get_trainable_variables()):
        np.testing.assert_array_equal(v, other)
    obs = observations(exact, 4)
    one, other = (pi.vpred(obs) for pi in (exact, rounded))
    assert other.dtype == np.float32
    # three layers with three roundings of at most 2^-9 each
    assert 0 < np.linalg.norm(one - other) < 9 * 2.0**-9 * np.linalg.norm(one)


def test_the_first_ratio_is_one_and_kl_is_zero(monkeypatch):
    """Invariant 1: old and new log probabilities are of the same network, in the same precision."""
    updates = []

    class Recorder(pposgd_simple.PPOUpdate):
        def __call__(self, *args):
            updates.append(self)
            return super().__call__(*args)

    monkeypatch.setattr(pposgd_simple, "PPOUpdate", Recorder)
    env = InProcessVectorEnv([Catch() for _ in range(4)])
    pi = learn(env, lambda *args: CnnPolicy(*args, kind="small", precision="bfloat16"), optim_stepsize=1e-2, **SHORT)
    assert pi.precision == "bfloat16"
    losses = dict(zip(pposgd_simple.LOSS_NAMES, updates[-1].minibatch_losses.T))
    # as for float32, see test_recorded_outputs_of_the_actor_make_the_first_ratio_one
    assert abs(losses["loss_kl"][0]) < 2 * ulps(4, np.log(3)) < losses["loss_kl"][-1] / 5
    assert losses["clipfrac"][0] == 0


@pytest.mark.parametrize("kind", BUILD)
def test_a_file_keeps_the_precision_and_an_export_is_in_float32(kind, tmp_path):
    pi = BUILD[kind]("bfloat16")
    pi.initialise(np.random.default_rng(2))
    pi.save(tmp_path / "policy.safetensors")
    loaded, obs = load_policy(tmp_path / "policy.safetensors"), observations(pi, 3)
    assert loaded.settings() == pi.settings() and pi.settings()["precision"] == "bfloat16"
    np.testing.assert_array_equal(loaded.vpred(obs), pi.vpred(obs))
    exact = pi.in_float32()
    assert exact is not pi and exact.in_float32() is exact and pi.precision == "bfloat16"
    assert np.any(exact.vpred(obs) != pi.vpred(obs))
    same = BUILD[kind]("float32")
    for v, other in zip(same.get_variables(), pi.get_variables()):
        v.assign(other)
    np.testing.assert_array_equal(exact.vpred(obs), same.vpred(obs))
    graph = policy_functions(pi)[1]["act"].graph
    assert not any(t.dtype == tf.bfloat16 for op in graph.get_operations() for t in op.outputs)


def test_a_run_records_what_auto_chose(tmp_path, cli_here, monkeypatch):
    monkeypatch.setattr(precision, "multiplies_in_bfloat16", lambda: True)
    gym.register("Catch-v0", entry_point=Catch)
    try:
        words = ["--env", "Catch-v0", "--kind", "small", "--num-envs", "1", "--timesteps-per-actorbatch", "16"]
        words += ["--optim-batchsize", "8", "--optim-epochs", "1", "--report", "false", "--quiet", "--max-iters", "1"]
        done = cli_here(*words, "--precision", "auto", "--run-dir", tmp_path / "run")
        assert (done.returncode, done.stderr) == (0, "")
        config = json.loads((tmp_path / "run/config.json").read_text(encoding="utf-8"))
        assert config["settings"]["policy_settings"]["precision"] == "bfloat16"
        # on another processor, the run continues as it began
        monkeypatch.setattr(precision, "multiplies_in_bfloat16", lambda: False)
        more = cli_here("--resume", "--run-dir", tmp_path / "run", "--max-iters", "2")
        assert (more.returncode, more.stderr) == (0, "")
        assert load_policy(tmp_path / "run/policy/policy.safetensors").precision == "bfloat16"
    finally:
        del gym.registry["Catch-v0"]


def test_ranks_that_would_compute_in_different_precisions_are_refused():
    other = BUILD["cnn"]("float32").settings()
    comm = SimpleNamespace(rank=0, size=2, gather=lambda settings: [settings, other])
    with pytest.raises(UserError, match="precision='bfloat16' on rank 0, and with precision='float32' on rank 1"):
        build_policies(Catch(), lambda *spaces: CnnPolicy(*spaces, kind="small", precision="bfloat16"), comm, 0)


@pytest.mark.slow  # a processor without such instructions takes minutes
def test_learns_to_catch_what_it_sees():
    """As in float32: test_cnn_learning.py."""
    envs = InProcessVectorEnv([Catch() for _ in range(8)])
    pi = learn(
        envs,
        lambda *args: CnnPolicy(*args, kind="small", init="orthogonal", precision="bfloat16"),
        **TRAINING,
        seed=0,
    )
    assert catch_rate(pi, Catch()) >= 0.9
