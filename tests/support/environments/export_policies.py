"""Policies that are exported, with observations and noise for them."""

import functools

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from export_spaces import BOX, BOX32, IMAGES, ROWS, TASK, TORQUES, draw
from small_policies import trained

from baselines_ppo import CnnPolicy, MlpPolicy, Policy, export_onnx
from baselines_ppo.export.targets import ONNX_PACKAGES, sample_path
from common.distributions import BernoulliPdType, MultiCategoricalPdType
from common.running_mean_std import RunningMeanStd


class CustomPolicy(Policy):
    """A custom linear policy."""

    def __init__(self, name, ob_space, ac_space):
        super().__init__(name, ob_space, ac_space)
        n = self.encoder.shape[0]
        self.w, self.v = tf.Variable(tf.zeros([n, *self.pdtype.param_shape()])), tf.Variable(tf.zeros([n, 1]))

    def forward(self, ob):
        ob = tf.cast(ob, tf.float32)
        return ob @ self.w, (ob @ self.v)[:, 0]


class FilterPolicy(CustomPolicy):
    """A custom policy with an observation filter, as in docs/tutorials/custom-network.md."""

    def __init__(self, *args):
        super().__init__(*args)
        self.ob_rms = RunningMeanStd(self.encoder.shape)

    def prepare(self, ob):
        return self.ob_rms.normalise(ob, clip=5.0)


class SignPolicy(CustomPolicy):
    """A custom policy with `prepare_tensor`: it sees signs."""

    def prepare(self, ob):
        return np.sign(ob - 1e3)

    def prepare_tensor(self, ob):
        return tf.sign(ob - 1e3)


def single_tensor(ob):
    return {"observation": ob}


def task_tensors(ob):
    return {
        "observation_arm_0": ob["arm"][0],
        "observation_arm_1": ob["arm"][1],
        "observation_grip": ob["grip"],
        "observation_lamp_on": ob["lamp on"],
        "observation_eye": ob["eye"],
    }


# name: (policy, observation space, action space, settings, function observation -> {name in docs/tutorials/deploy.md: tensor})
SAVED_MODELS = {
    "box_of_float64": (MlpPolicy, BOX, TORQUES, {}, single_tensor),
    "matrices": (
        MlpPolicy,
        BOX32,
        gym.spaces.Box(-1, 1, (2, 2)),
        {"gaussian_fixed_var": False, "shared_trunk": True},
        single_tensor,
    ),
    "number": (
        MlpPolicy,
        gym.spaces.Box(-np.inf, np.inf, ()),
        gym.spaces.Box(-1, 1, ()),
        {"ob_clip": 2.0},
        single_tensor,
    ),
    "discrete": (
        MlpPolicy,
        gym.spaces.Discrete(9, start=3),
        gym.spaces.Discrete(4, start=-2),
        {"normalise_ob": False},
        single_tensor,
    ),
    "dict": (MlpPolicy, TASK, gym.spaces.MultiDiscrete([[3, 2], [2, 4]], start=[[0, 7], [-1, 0]]), {}, task_tensors),
    "tuple": (
        MlpPolicy,
        gym.spaces.Tuple([BOX32, gym.spaces.MultiBinary([2, 2])]),
        gym.spaces.MultiBinary([2, 3]),
        {},
        lambda ob: {"observation_0": ob[0], "observation_1": ob[1]},
    ),
    "images": (CnnPolicy, IMAGES, gym.spaces.Discrete(6), {"kind": "small"}, single_tensor),
    "trained": (trained, None, None, {}, single_tensor),  # Discrete actions over a Box
    "own_filter": (FilterPolicy, BOX, TORQUES, {}, single_tensor),
    "own_prepare": (SignPolicy, BOX, gym.spaces.Discrete(3), {}, single_tensor),
}
LITERT = {
    "lite_box": (MlpPolicy, BOX, TORQUES, {}, single_tensor),
    "lite_factors": (
        MlpPolicy,
        BOX32,
        gym.spaces.MultiDiscrete([[3, 2], [2, 4]], start=[[0, 7], [-1, 0]]),
        {},
        single_tensor,
    ),
    "lite_bits": (MlpPolicy, BOX32, gym.spaces.MultiBinary(4), {}, single_tensor),
    "lite_own": (FilterPolicy, BOX, gym.spaces.Discrete(4), {}, single_tensor),
    "lite_images": (CnnPolicy, IMAGES, gym.spaces.Discrete(6, start=1), {"kind": "small"}, single_tensor),
}
PRINTED = ("box_of_float64", "lite_box")


@functools.cache
def build(name):
    """Return (policy, observations, noise) of a case: random weights and a filter of such observations, or a trained
    policy.
    """
    cls, ob_space, ac_space, settings, _ = (SAVED_MODELS | LITERT)[name]
    if cls is trained:
        return trained(ROWS)
    rng = np.random.default_rng(1)
    pi = cls("pi", ob_space, ac_space, **settings)
    for v in pi.get_variables():
        v.assign(rng.standard_normal(v.shape) * (0.3 if len(v.shape) == 1 else 3 / np.sqrt(np.prod(v.shape[:-1]))))
    obs = draw(ob_space, np.random.default_rng(2))
    if pi.ob_rms is not None:
        pi.ob_rms.update(pi.encoder.single_or_batch(obs)[0][:500])
    return pi, obs, pi.pdtype.noise(rng, (ROWS,))


def decided(pdtype, scores, lead):
    """Return [N, *space.shape] bool: whether the best choice leads the next by more than `lead`."""
    if isinstance(pdtype, BernoulliPdType):
        return pdtype.to_space_shape(np.abs(scores) > lead)
    if isinstance(pdtype, MultiCategoricalPdType):
        best = [np.sort(part, -1)[:, -2:] for part in np.split(scores, pdtype.ends[:-1], -1)]
        return pdtype.to_space_shape(np.stack([two[:, 1] - two[:, 0] > lead for two in best], -1))
    two = np.sort(scores, -1)[:, -2:]
    return two[:, 1] - two[:, 0] > lead


def require_onnx():
    """Skip a test if a package of the extra `onnx` is missing."""
    for name in ONNX_PACKAGES:
        pytest.importorskip(name, reason=f"{name} is not installed: pip install -e '.[onnx]'")


def onnx_functions(pi, path):
    """Export a policy to ONNX; return {"act": ..., "sample": ...}, functions {input: array} -> {output: array}.

    The output `next_state` is called `state`, as in the other formats.
    """
    require_onnx()
    import onnxruntime

    path = export_onnx(pi, path)

    def function(file):
        session = onnxruntime.InferenceSession(file)
        names = [output.name.removeprefix("next_") for output in session.get_outputs()]
        return lambda inputs: dict(zip(names, session.run(None, inputs)))

    return {"act": function(path), "sample": function(sample_path(path))}
