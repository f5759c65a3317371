"""The memory of a policy along segments of a scripted environment, in each form in which the environment can be passed.

The policy remembers the first observation of an episode, and counts its steps. So values follow from the script alone.
"""

import numpy as np
import pytest
import tensorflow as tf
from gymnasium.vector import AutoresetMode
from scripted import MODES, ScriptedEnv, passed_as, script

from baselines_ppo import Policy, UserError
from common.rollouts.collector import Collector
from common.rollouts.segment_generator import traj_segment_generator
from common.rollouts.sequences import SequenceEvaluator, sequences_of

KINDS = ["env", "in_process", "monitored", *MODES]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)


class Remembering(Policy):
    """Its state is [number of steps seen, environment and episode at the first of them].

    Its value is 1,000 times that first observation's number, and the number of steps. All numbers are exact.
    """

    state_size, memory_steps, xla = 2, 3, False

    def __init__(self, *args):
        super().__init__(*args)
        self.w = tf.Variable(0.0)

    def forward_sequence(self, ob, start, state):
        states = []
        for t in range(ob.shape[1]):
            number = 10 * ob[:, t, 0] + ob[:, t, 1]
            kept = tf.where(start[:, t, None], 0.0, state)
            is_first = kept[:, 0] == 0
            state = tf.stack([kept[:, 0] + 1, tf.where(is_first, number, kept[:, 1])], axis=1)
            states.append(state)
        states = tf.stack(states, axis=1)
        flat = tf.zeros([tf.shape(ob)[0], ob.shape[1], 4]) + self.w
        return flat, 1000 * states[..., 1] + states[..., 0], states


def expected_value(k, episode, step):
    """The value of the observation after `step` steps of an episode."""
    return 1000 * (10 * k + episode) + step + 1


def remembering():
    return Remembering("pi", ScriptedEnv.observation_space, ScriptedEnv.action_space)


def with_axis(seg):
    """A segment of one environment, with the axis of environments."""
    axis = {"nextvpred": 0, "last_ob": 0, "last_new": 0, "state": 0, "last_start": 0}
    return {key: x if isinstance(x, (list, int)) else np.expand_dims(x, axis.get(key, 1)) for key, x in seg.items()}


def segments(kind, count=5, steps=7):
    """Yield segments [T, K, ...] of Baselines' generator."""
    env, _ = passed_as(kind)
    generator = traj_segment_generator(remembering(), env, steps * (1 if kind == "env" else 3), True, seed=0)
    for _ in range(count):
        yield with_axis(next(generator)) if kind == "env" else next(generator)


@every_kind
def test_values_are_those_of_the_episode_up_to_each_step(kind):
    rows = 0
    for seg in segments(kind):
        for t, k in np.argwhere(seg["valid"]):
            assert seg["vpred"][t, k] == expected_value(*seg["ob"][t, k])
            rows += 1
    assert rows > 25


@every_kind
def test_the_last_observation_of_a_time_limit_is_valued_with_the_memory_of_its_episode(kind):
    limits = 0
    for seg in segments(kind):
        found = {(t, k): seg["final_vpred"][t, k] for t, k in np.argwhere(seg["final_vpred"] != 0)}
        expected = {}
        for t, k in np.argwhere(seg["valid"] & seg["truncated"] & ~seg["terminated"]):
            _, episode, step = seg["ob"][t, k]
            expected[t, k] = expected_value(k, episode, step + 1)
        assert found == expected
        limits += len(expected)
    assert limits >= 3


@every_kind
def test_the_observation_after_a_segment_is_valued_with_the_memory_so_far(kind):
    inside = 0
    for seg in segments(kind):
        for k in range(len(seg["last_ob"])):
            if seg["last_new"][k]:
                assert seg["nextvpred"][k] == 0 and seg["last_start"][k]
            elif seg["valid"][-1, k]:
                assert seg["nextvpred"][k] == expected_value(*seg["last_ob"][k])
                inside += 1
            else:  # a step that only reset: the episode's first observation
                assert seg["nextvpred"][k] == expected_value(*seg["last_ob"][k]) and seg["last_ob"][k, 2] == 0
    assert inside > 2


@every_kind
def test_each_segment_begins_with_the_state_after_the_one_before(kind):
    before = None
    for seg in segments(kind):
        if before is not None:
            np.testing.assert_array_equal(seg["state"], before["states"][-1])
            np.testing.assert_array_equal(seg["start"][0], before["last_start"])
        before = seg


@pytest.mark.parametrize("kind", ["in_process", *MODES], ids=str)
def test_whole_episodes_are_remembered_beyond_the_horizon(kind):
    env, _ = passed_as(kind)
    pi = remembering()
    collector = Collector(env, pi, 6, whole_episodes=True)
    evaluator = SequenceEvaluator(pi, 2, 3)
    longer = 0
    for _ in range(4):
        collector.reset()
        seg = collector.collect(np.random.default_rng(0))
        evaluator.add_values(seg)
        longer += len(seg["rew"]) > 2
        for t, k in np.argwhere(seg["valid"]):
            assert seg["vpred"][t, k] == expected_value(*seg["ob"][t, k])
        ends = (seg["terminated"] | seg["truncated"]) & seg["valid"]
        assert ends.sum(axis=0).min() >= 1
    assert longer > 0


def test_acting_and_evaluating_have_the_same_states():
    env, _ = passed_as("in_process")
    pi = remembering()
    collector, evaluator = Collector(env, pi, 21), SequenceEvaluator(pi, 7, 3)
    for _ in range(4):
        seg = collector.collect(np.random.default_rng(0))
        evaluator.add_values(seg)
        np.testing.assert_array_equal(collector.memory.state, seg["states"][-1])
        np.testing.assert_array_equal(collector.memory.start, seg["last_start"])


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_sequences_give_the_values_of_the_segment(length):
    """Seven steps in sequences of `length`, of which the last repeats steps; each state belongs to its sequence."""
    pi = remembering()
    for seg in segments("in_process"):
        seg["adv"] = seg["tdlamret"] = np.zeros_like(seg["vpred"])
        batch, valid = sequences_of(seg, pi.layout, length)
        values = pi.outputs(tf.constant(batch.x))[1].numpy()
        assert valid.sum() == 21 and valid.shape == (3 * -(-7 // length), length)
        np.testing.assert_array_equal(values[valid], batch.vpred[valid])
        np.testing.assert_array_equal(np.sort(values[valid]), np.sort(seg["vpred"].reshape(-1)))


def test_steps_that_only_reset_are_not_valid_in_sequences():
    for seg in segments(AutoresetMode.NEXT_STEP):
        seg["adv"] = seg["tdlamret"] = np.zeros_like(seg["vpred"])
        _, valid = sequences_of(seg, remembering().layout, 3)
        assert valid.sum() == seg["valid"].sum() < 21


def test_acting_step_by_step_equals_the_segment():
    """`act` with the state that it returned, and with `episode_start` where an episode begins."""
    pi = remembering()
    seg = next(segments("in_process", steps=20))
    state = None
    for t in range(20):
        _, vpred, state = pi.act(False, seg["ob"][t], state, seg["start"][t])
        np.testing.assert_array_equal(vpred, seg["vpred"][t])
    ends = [script(k, 0)[0] for k in range(3)]
    assert [int(np.flatnonzero(seg["start"][1:, k])[0]) + 1 for k in range(3)] == ends
    with pytest.raises(UserError, match="invalid state of shape"):
        pi.act(False, seg["ob"][0], state[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": "a"}, "invalid state of dtype <U1: must be numbers"),
        ({"state": None}, "invalid state of dtype object: must be numbers"),
        ({"state": 1j}, "invalid state of dtype complex128: must be numbers"),
        ({"state": np.nan}, "invalid state with nan: must be finite"),
        ({"episode_start": np.ones(2, bool)}, r"invalid episode_start of shape \(2,\): must be a bool, or have shape"),
        ({"episode_start": "yes"}, "invalid episode_start='yes': must be True or False"),
        ({"episode_start": 0.5}, "invalid episode_start=0.5"),
    ],
)
def test_an_invalid_state_or_start_is_refused(changes, message):
    pi, ob = remembering(), np.zeros((3, *remembering().ob_space.shape), np.float32)
    arguments = {"state": 0.0, "episode_start": False} | changes
    arguments["state"] = np.full((3, pi.state_size), arguments["state"])
    with pytest.raises(UserError, match=message):
        pi.predict(ob, **arguments)
