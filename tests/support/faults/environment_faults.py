"""Runs of an environment with a fault, and the messages about each fault."""

import json
import os

import jobs
import numpy as np
import pytest
from faulty_envs import Faulty
from scripted import ScriptedPolicy

from common.errors import EnvError
from common.rollouts.collector import Collector

WHAT = {
    "raises_in_step": "raised RuntimeError in step: the simulator broke",
    "raises_in_reset": "raised ValueError in reset: no level could be loaded",
    "reset_nan": "returned an observation that is not finite: [nan 0.]",
    "reset_alone": "from reset, but Gymnasium expects a pair",
    "four": "from step, but Gymnasium expects five values",
    "ob_nan": "returned an observation that is not finite: [ 0. nan]",
    "ob_inf": "returned an observation that is not finite: [-inf 0.]",
    "ob_shape": "returned an observation of shape (3,), but its space is Box(-inf, inf, (2,), float32)",
    "ob_one": "observation of shape (1,)",
    "ob_number": "observation of shape ()",
    "ob_text": "the observation 'ab', of dtype <U2",
    "ob_texts": "of dtype <U1",
    "ob_none": "the observation None, of dtype object",
    "ob_object": "of dtype object",
    "ob_complex": "of dtype complex128",
    "ob_ragged": "a ragged list",
    "rew_nan": "returned a reward that is not finite: nan",
    "rew_inf": "returned a reward that is not finite: inf",
    "rew_none": "returned the reward None, which is not a number",
    "rew_two": "returned the reward array([0., 0.]), which is not a number",
    "rew_text": "returned the reward '1.0', which is not a number",
    "rew_complex": "returned the reward 1j, which is not a number",
    "end_text": "returned terminated='False', which is neither True nor False",
    "end_list": "returned terminated=[False], which is neither True nor False",
}


def failure(env, segment=20):
    """The error of collecting segments of `segment` steps of each environment."""
    collector = Collector(env, ScriptedPolicy(Faulty), segment * env.num_envs)
    with pytest.raises(EnvError) as caught:
        for iteration in range(3):
            collector.collect(np.random.default_rng(iteration))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    return caught.value


def words(fault, folder, *more, **kwargs):
    kwargs = json.dumps({"fault": fault, "at": 90} | kwargs)
    return [
        jobs.RUN_UNCOMPILED,
        "--env",
        "faulty_envs:Faulty-v0",
        "--env-kwargs",
        kwargs,
        "--num-envs",
        "2",
        "--batch",
        "per-rank",
        "--timesteps-per-actorbatch",
        "64",
        "--optim-batchsize",
        "32",
        "--optim-epochs",
        "1",
        "--hid-size",
        "4",
        "--checkpoint-every",
        "1",
        "--max-iters",
        "4",
        "--report",
        "false",
        "--quiet",
        "--run-dir",
        str(folder),
        *more,
    ]


def run(ranks, *args):
    return jobs.run(ranks, *args, env=os.environ | {"PYTHONPATH": os.pathsep.join((str(jobs.ROOT), jobs.SUPPORT))})
