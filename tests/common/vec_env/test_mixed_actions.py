"""Actions of Dict and Tuple reach environments in the structure and the dtypes of their space."""

import functools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from small_envs import Strict
from small_policies import Linear

from baselines_ppo.play.video import Recorder
from common.rollouts.collector import Collector
from common.rollouts.evaluation import evaluate
from common.vec_env.actions import ActionStructure
from common.vec_env.in_process import InProcessVectorEnv
from common.vec_env.subproc import SubprocVectorEnv

PARAMETRISED = gym.spaces.Dict(choice=gym.spaces.Discrete(3, start=-1), amount=gym.spaces.Box(0, 0.5, (2,), np.float32))
NESTED = gym.spaces.Tuple(
    [
        gym.spaces.Box(-0.1, 0.1, (), np.float64),
        gym.spaces.Dict(
            {
                "arm": gym.spaces.Tuple(
                    [gym.spaces.Discrete(4, dtype=np.int32), gym.spaces.Box(-1, 1, (2, 2), np.float16)]
                ),
                3: gym.spaces.MultiBinary([2, 2]),
            }
        ),
        gym.spaces.MultiDiscrete([3, 2], start=[1, -1], dtype=np.int16),
        gym.spaces.Box(np.array([-3, 0]), np.array([200, 2]), dtype=np.int64),
    ]
)
INTEGERS = gym.spaces.Box(3, 250, (2,), np.uint8)
SPACES = {"parametrised": PARAMETRISED, "nested": NESTED, "integers": INTEGERS}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def same_form(x, y):
    """Whether two actions have the same structure, types, dtypes and shapes.

    Gymnasium's vector environments make a scalar of an array of rank 0.
    """
    if isinstance(x, np.generic) and isinstance(y, np.ndarray):
        return x.dtype == y.dtype and y.shape == ()
    if type(x) is not type(y):
        return False
    if isinstance(x, dict):
        return x.keys() == y.keys() and all(same_form(x[key], y[key]) for key in x)
    if isinstance(x, tuple):
        return len(x) == len(y) and all(map(same_form, x, y))
    return x.dtype == y.dtype and x.shape == y.shape


def flatten(space, action):
    """Return the numbers of an action, or of a batch of them, in the order of the space; Gymnasium sorts keys of batches."""
    if isinstance(space, (gym.spaces.Dict, gym.spaces.Tuple)):
        keys = space.spaces if isinstance(space, gym.spaces.Dict) else range(len(space.spaces))
        return np.concatenate([flatten(space[key], action[key]) for key in keys] or [np.zeros(0)])
    return np.ravel(action).astype(np.float64)


class Typed(Strict):
    """Accepts only actions with the form of its space's samples; the reward is the sum of the action's numbers."""

    def step(self, action):
        assert same_form(action, self.action_space.sample()), action
        ob, _, *rest = super().step(action)
        return ob, flatten(self.action_space, action).sum(), *rest


class TypedWorker(Typed):
    """The same, made in a worker."""

    def __init__(self, space, k):
        super().__init__(space)


def test_the_structure_by_hand():
    rows = np.array([[-1, 0.25, 2], [1, -3, 0.5]])
    structure = ActionStructure(PARAMETRISED)
    assert structure.size == 3
    batch = structure.batch(rows)
    assert list(batch) == ["choice", "amount"]
    np.testing.assert_array_equal(batch["choice"], [-1, 1])
    np.testing.assert_array_equal(batch["amount"], np.float32([[0.25, 0.5], [0, 0.5]]))
    first, second = structure.rows(rows)
    assert (first["choice"], second["choice"]) == (-1, 1)
    np.testing.assert_array_equal(second["amount"], np.float32([0, 0.5]))
    assert same_form(structure.batch(rows[0]), first)
    assert ActionStructure(gym.spaces.Tuple([gym.spaces.Dict(), PARAMETRISED["choice"]])).batch(rows[:, :1])[0] == {}


@every_space
def test_rows_and_batches_have_the_form_of_samples(space):
    structure, batched = ActionStructure(space), gym.vector.utils.batch_space(space, 5)
    actions = np.stack([flatten(space, space.sample()) for _ in range(5)])
    batch, rows = structure.batch(actions), structure.rows(actions)
    assert batched.contains(batch) and all(map(space.contains, rows))
    assert all(same_form(row, space.sample()) for row in rows)
    if space is NESTED:
        assert isinstance(rows[0][0], np.ndarray)
    assert same_form(batch, batched.sample())
    for one, row in zip(gym.vector.utils.iterate(batched, batch), rows):
        np.testing.assert_array_equal(flatten(space, one), flatten(space, row))


IN_THIS_PROCESS = ("env", "in process", "threads", "SyncVectorEnv")
KINDS = [(space, kind) for space in SPACES for kind in IN_THIS_PROCESS]
KINDS += [("nested", "AsyncVectorEnv"), ("nested", "workers")]  # whose processes take seconds to start


@pytest.mark.parametrize(("space", "kind"), [(SPACES[name], kind) for name, kind in KINDS], ids=map("-".join, KINDS))
def test_environments_get_the_stored_actions_in_the_form_of_their_space(space, kind):
    envs = [Typed(space), Typed(space)]
    makers = [lambda env=env: env for env in envs]
    env = {
        "env": lambda: envs[0],
        "in process": lambda: InProcessVectorEnv(envs),
        "threads": lambda: InProcessVectorEnv(envs),
        "SyncVectorEnv": lambda: SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP),
        "AsyncVectorEnv": lambda: AsyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP),
        "workers": lambda: SubprocVectorEnv(functools.partial(TypedWorker, space), 2, 1),
    }[kind]()
    pi = Linear("pi", Strict.observation_space, space)
    seg = Collector(env, pi, 8, threads=2 if kind == "threads" else 1).collect(np.random.default_rng(0))
    if kind not in IN_THIS_PROCESS:
        env.close()
    stored = seg["ac"]
    assert stored.dtype == (np.int32 if space is INTEGERS else np.float64)
    taken = [
        [flatten(space, one) for one in ActionStructure(space).rows(np.reshape(row, (-1, row.shape[-1])))]
        for row in stored
    ]
    np.testing.assert_array_equal(np.reshape(seg["rew"], (len(stored), -1)), [[x.sum() for x in row] for row in taken])
    if kind in IN_THIS_PROCESS:  # the others' environments are copies
        for k in range(len(taken[0])):
            np.testing.assert_array_equal([flatten(space, x) for x in envs[k].taken], [row[k] for row in taken])


class Changing(Strict):
    """Changes its action in place."""

    def step(self, action):
        result = super().step(action)
        self.taken[-1] = flatten(PARAMETRISED, action)
        action["amount"][...] = 9
        return result


def test_an_environment_that_changes_its_action_changes_nothing_else():
    env = Changing(PARAMETRISED)
    seg = Collector(env, Linear("pi", env.observation_space, PARAMETRISED), 8).collect(np.random.default_rng(0))
    kept = np.concatenate([seg["ac"][:, 0, :1], np.clip(seg["ac"][:, 0, 1:], 0, 0.5)], axis=1)
    np.testing.assert_array_equal(env.taken, kept)
    assert seg["ac"].max() < 9


@every_space
def test_evaluations_and_recorders_have_actions_of_the_space(space):
    env = Recorder(Typed(space))
    pi = Linear("pi", Strict.observation_space, space)
    returns, lengths = evaluate(pi, gym.wrappers.TimeLimit(env, 6), 2, stochastic=True)
    assert lengths.tolist() == [6, 6] and len(env.actions) == 12
    assert all(map(space.contains, env.actions))
    np.testing.assert_allclose(returns.sum(), sum(flatten(space, action).sum() for action in env.actions))


@every_space
@pytest.mark.parametrize("deterministic", [False, True])
def test_predict_returns_actions_of_the_space(space, deterministic):
    pi = Linear("pi", Strict.observation_space, space)
    one = pi.predict(np.ones(2, np.float32), deterministic)
    assert space.contains(one) and same_form(one, space.sample())
    many = pi.predict(np.ones((4, 2), np.float32), deterministic)
    batched = gym.vector.utils.batch_space(space, 4)
    assert batched.contains(many) and same_form(many, batched.sample())
    ac = pi.act(not deterministic, np.ones((4, 2), np.float32))[0]
    assert ac.shape == (4, *pi.pdtype.sample_shape())
    if deterministic:
        expected = ActionStructure(space).batch(ac) if space is not INTEGERS else ac
        np.testing.assert_array_equal(flatten(space, many), flatten(space, expected))
