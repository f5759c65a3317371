"""Trainings with a memory: each algorithm and kind of environment, graphs traced once, what a failure leaves on disk."""

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from masked_envs import Corridor
from small_policies import train_tiny

from baselines_ppo import MlpPolicy, evaluate_policy, learn, load_policy, trpo_mpi, vpg
from baselines_ppo.networks.mixed_policy import MixedPolicy
from baselines_ppo.train.preflight import _bytes_per_step
from common.diagnostics.crash_dump import FORMAT
from common.envs.action_masks import ActionMaskWrapper
from common.errors import NonFiniteError
from common.rollouts.collector import Collector
from common.rollouts.processor import SegmentProcessor
from common.storage.array_files import load_arrays
from common.vec_env.in_process import InProcessVectorEnv

pytestmark = pytest.mark.usefixtures("uncompiled_here")
MEMORY = {"memory": "lstm", "memory_size": 4, "memory_steps": 8, "hidden": [6]}
PARTS = gym.spaces.Dict({"eye": gym.spaces.Box(0, 255, (20, 20, 1), np.uint8), "cue": gym.spaces.Discrete(3)})


class Recall(gym.Env):
    """The reward is 1 for the action that the first observation of the episode named; episodes have 2 to 6 steps."""

    observation_space, action_space = gym.spaces.Box(-1, 2, (2,)), gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cue, self.left = int(self.np_random.integers(2)), int(self.np_random.integers(2, 7))
        return np.float32([self.cue, 1]), {}

    def step(self, action):
        self.left -= 1
        return np.float32([-1, 0]), float(action == self.cue), self.left == 0, False, {}


class Seen(gym.Env):
    """Images and choices, with masks; episodes of ten steps that a time limit ends."""

    observation_space, action_space = PARTS, gym.spaces.Discrete(3)

    def action_masks(self):
        return [True, self.t % 2 == 0, True]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        PARTS.seed(int(self.np_random.integers(2**31)))
        return PARTS.sample(), {}

    def step(self, action):
        assert self.action_masks()[action]
        self.t += 1
        return PARTS.sample(), float(action), False, self.t == 10, {}


class Counting(MlpPolicy):
    """Counts how often its network is traced."""

    traced = 0

    def forward_sequence(self, *inputs):
        Counting.traced += 1
        return super().forward_sequence(*inputs)


ALGORITHMS = {
    "ppo": (learn, {"timesteps_per_actorbatch": 64, "optim_batchsize": 32, "optim_epochs": 2}),
    "recompute": (
        learn,
        {"timesteps_per_actorbatch": 64, "optim_batchsize": 32, "optim_epochs": 2, "recompute_adv": True},
    ),
    "adaptive_kl": (learn, {"timesteps_per_actorbatch": 64, "optim_batchsize": 32, "objective": "adaptive_kl"}),
    "vf_iters": (learn, {"timesteps_per_actorbatch": 64, "optim_batchsize": 32, "vf_iters": 2}),
    "vf_stepsize": (learn, {"timesteps_per_actorbatch": 64, "optim_batchsize": 32, "vf_stepsize": 1e-3}),
    "trpo": (trpo_mpi.learn, {"timesteps_per_batch": 64, "vf_batchsize": 32}),
    "reinforce": (vpg.learn, {"timesteps_per_actorbatch": 64, "vf_batchsize": 32}),
    "a2c": (vpg.learn, {"timesteps_per_actorbatch": 16, "whole_episodes": False, "vf_iters": 0}),
}
every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)


def train(name, env=None, policy=MlpPolicy, **kwargs):
    algorithm, settings = ALGORITHMS[name]
    given = MEMORY | kwargs.pop("memory", {})
    return algorithm(
        env or Recall(), lambda *args: policy(*args, **given), **{"seed": 1, "max_iters": 3} | settings | kwargs
    )


@every_algorithm
def test_each_algorithm_moves_the_memory_and_traces_its_network_a_bounded_number_of_times(name):
    """Episodes have random lengths, so a graph for each length would be traced again and again."""
    counts = []

    def callback(local, _):
        counts.append(Counting.traced)

    Counting.traced, before = 0, []
    pi = train(name, policy=Counting, max_iters=8, callback=callback)
    before = Counting("pi", Recall.observation_space, Recall.action_space, **MEMORY)
    assert len(counts) == 9 and counts[2] == counts[-1] > 0  # nothing is traced after two iterations
    for key, v in pi.weights.items():
        assert np.isfinite(v.numpy()).all()
        assert v.shape == before.weights[key].shape
    assert np.abs(pi.weights["memory/h/w"].numpy()).max() > 0


@pytest.mark.parametrize("name", ["ppo", "trpo", "reinforce"])
def test_each_algorithm_repeats_itself_to_the_bit(name):
    one, two = (train(name, max_iters=2).state() for _ in range(2))
    assert all(np.array_equal(one[key], two[key]) for key in one)


ENVIRONMENTS = {
    "in process": lambda: InProcessVectorEnv([Corridor("info", goal=3) for _ in range(3)]),
    **{
        mode.name: lambda mode=mode: SyncVectorEnv([lambda: Corridor("info", goal=3)] * 3, autoreset_mode=mode)
        for mode in AutoresetMode
    },
}


@pytest.mark.parametrize("make", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_a_memory_trains_with_masks_in_each_kind_of_vector_environment(make):
    pi = train("ppo", make(), timesteps_per_actorbatch=96, optim_batchsize=24)
    assert pi.masked and pi.recurrent
    assert evaluate_policy(pi, Corridor("info", goal=3), 3).lengths.min() >= 3


def mixed(*spaces):
    return MixedPolicy(*spaces, kind="small", **MEMORY)


def test_the_post_mortem_file_has_records_and_states_and_reproduces_the_failure(tmp_path):
    with pytest.raises(NonFiniteError) as caught:
        train_tiny(Seen(), mixed, folder=tmp_path, optim_stepsize=1e30)
    assert "\n" not in str(caught.value) and "post-mortem" in str(caught.value)
    (path,) = (tmp_path / "post-mortem").iterdir()
    arrays, metadata = load_arrays(path, FORMAT)
    assert metadata["minibatch"] is not None
    assert arrays["segment/ob/action_mask"].shape == (64, 1, 3)
    assert arrays["segment/ob/observation/eye"].shape == (64, 1, 20, 20, 1)
    assert arrays["segment/state"].shape == (1, 8) and arrays["segment/start"].shape == (64, 1)
    np.testing.assert_array_equal(np.flatnonzero(arrays["segment/start"][:, 0]), np.arange(0, 64, 10))
    pi = load_policy(path)
    at_start = pi.outputs(tf.constant(arrays["minibatch/x"]))[0].numpy()
    np.testing.assert_allclose(at_start, arrays["minibatch/flatparam"], rtol=1e-4, atol=1e-5)
    pi.restore({key.removeprefix("then/pi/"): x for key, x in arrays.items() if key.startswith("then/pi/")})
    assert not np.allclose(pi.outputs(tf.constant(arrays["minibatch/x"]))[0], at_start)


POLICIES = {
    "plain": lambda: (Recall(), MlpPolicy, {"hidden": [6]}),
    "memory": lambda: (Recall(), MlpPolicy, MEMORY | {"memory_size": 64}),
    "mixed": lambda: (ActionMaskWrapper(Seen()), MixedPolicy, {"kind": "small"}),
    "mixed with memory": lambda: (ActionMaskWrapper(Seen()), MixedPolicy, MEMORY | {"kind": "small"}),
}


@pytest.mark.parametrize("name", POLICIES)
def test_the_estimate_of_a_segment_covers_its_arrays(name):
    env, policy, settings = POLICIES[name]()
    pi = policy("pi", env.observation_space, env.action_space, **settings)
    seg = Collector(env, pi, 64).collect(np.random.default_rng(0))
    processor = SegmentProcessor(pi, policy("oldpi", env.observation_space, env.action_space, **settings), 64, 1)
    processor(seg)
    seg["adv"] = seg["tdlamret"] = np.zeros_like(seg["vpred"])
    arrays = [x for x in seg.values() if isinstance(x, np.ndarray) and x.shape[:2] == (64, 1)]
    if pi.recurrent:
        arrays.append(processor.make_batch(seg)[0].x)  # the sequences are a copy
    needed = sum(x.nbytes for x in arrays) / 64
    # up to three times for observations in a copy of four bytes per pixel
    assert needed <= _bytes_per_step(pi) <= 3.5 * needed
