"""Runs the trainings of `test_variants.py` in one job: action masks, a memory, and `learn` by names.

Rank 0 prints one JSON object, which the tests read.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

SUPPORT = Path(__file__).parents[2] / "support"
sys.path[:0] = [str(SUPPORT / folder) for folder in ("", "environments")]
from common.runtime.tf_import import import_tensorflow  # noqa: E402

import_tensorflow(threads=1)  # without Keras, as the command line does
from masked_envs import Corridor  # noqa: E402
from small_policies import uncompiled  # noqa: E402

from baselines_ppo import LearningCurve, Policy, learn, register_objective  # noqa: E402
from common.distributed import communicator  # noqa: E402
from common.vec_env.in_process import InProcessVectorEnv  # noqa: E402

comm = communicator.world()


def flat(pi):
    return np.concatenate([v.numpy().ravel() for v in pi.get_trainable_variables()])


def digest(pi):
    state = b"".join(np.ascontiguousarray(x).tobytes() for x in pi.state().values())
    return hashlib.sha256(state).hexdigest()


def train(env, averaging, **memory):
    """Train with masks; returns the policy, its parameters, those before, and digests by iteration and rank."""
    digests, first = [], []

    def callback(local, _):
        first.append(flat(local["pi"]))
        digests.append(comm.gather(digest(local["pi"])))

    settings = {"timesteps_per_actorbatch": 64, "optim_batchsize": 16, "optim_epochs": 2, "adam_epsilon": 1.0}
    pi = learn(
        env,
        lambda *args: uncompiled(*args, **memory),
        averaging=averaging,
        callback=callback,
        max_iters=3,
        seed=7,
        optim_stepsize=1e-2,
        **settings,
    )
    assert pi.masked and pi.recurrent == bool(memory)
    return {"digests": digests, "parameters": flat(pi).tolist(), "before": first[0].tolist()}


def by_names():
    """Train by names, with a registered objective and a `LearningCurve`; returns what each rank has."""
    curve = LearningCurve()
    Policy.xla = False  # compilation takes longer than this training
    register_objective("mine", lambda ratio, atarg, kl, c: ratio * atarg - c.beta * kl)
    pi = learn(
        "CartPole-v1",
        "MlpPolicy",
        objective="mine",
        callback=curve,
        timesteps_per_actorbatch=64,
        optim_batchsize=32,
        optim_epochs=2,
        max_iters=2,
        seed=3,
    )
    return comm.gather({"weights": digest(pi), "rows": curve.rows})


results = {"masks": {}, "lstm": {}, "gru": {}}
for kind in ("gather", "average"):
    # an invalid action raises an error in this environment
    results["masks"][kind] = train(Corridor("info" if comm.rank else "method", goal=3), kind)
    for cell in ("lstm", "gru"):
        two = InProcessVectorEnv([Corridor(goal=3) for _ in range(2)])
        results[cell][kind] = train(two, kind, memory=cell, memory_size=4, memory_steps=8)
results["names"] = by_names()
if comm.rank == 0:
    print("RESULTS", json.dumps(results))
