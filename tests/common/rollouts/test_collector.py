"""A scripted environment with terminations and time limits gives the same segments in each form in which it can be passed.

Observations and rewards contain the numbers of environment, episode and step, so that each sample of a segment identifies itself and
its targets can be computed from the script.
"""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from scripted import (
    GAMMA,
    HIGH,
    LAM,
    LOW,
    MODES,
    ScriptedEnv,
    ScriptedPolicy,
    observation,
    passed_as,
    reward,
    script,
    value,
)
from tolerance import ulps

from common.rollouts.advantages import add_vtarg_and_adv
from common.rollouts.collector import Collector
from common.rollouts.segment import add_values
from common.rollouts.segment_generator import traj_segment_generator

KINDS = ["env", "in_process", "monitored", *MODES]
# values, advantages and targets up to 40, each rounded to float32 once or twice; confusing two kinds of ends changes them by 0.5 or more
ATOL = ulps(4, 40)
every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)


def segments(kind, count=4, steps=7, env_class=ScriptedEnv):
    """Yield segments [T, K, ...] with targets."""
    env, _ = passed_as(kind, env_class=env_class)
    generator = traj_segment_generator(
        ScriptedPolicy(env_class), env, steps * (1 if kind == "env" else 3), True, seed=0
    )
    for _ in range(count):
        seg = next(generator)
        if kind == "env":
            axis = {"nextvpred": 0, "last_ob": 0, "last_new": 0}
            seg = {
                key: x if isinstance(x, (list, int)) else np.expand_dims(x, axis.get(key, 1)) for key, x in seg.items()
            }
        add_vtarg_and_adv(seg, GAMMA, LAM)
        yield seg


def expected_targets(rows, bootstrapping=("limit",)):
    """{row: (advantage, target)} of the rows (k, episode, step) of a segment: GAE as sums of its terms, from the script.

    Args:
        bootstrapping: ends of an episode after which the value of its last observation is used.
    """
    targets = {}
    for k, episode in {row[:2] for row in rows}:
        steps = sorted(step for *start, step in rows if start == [k, episode])
        length, end = script(k, episode)
        after = steps[-1] + 1
        bootstrap = 0 if after == length and end not in bootstrapping else value(observation(k, episode, after))
        v = [float(value(observation(k, episode, step))) for step in steps] + [float(bootstrap)]
        deltas = [reward(k, episode, step) + GAMMA * v[i + 1] - v[i] for i, step in enumerate(steps)]
        for i, step in enumerate(steps):
            adv = sum((GAMMA * LAM) ** (j - i) * deltas[j] for j in range(i, len(steps)))
            targets[k, episode, step] = adv, adv + v[i]
    return targets


def valid_rows(seg):
    return [(t, k, tuple(int(x) for x in seg["ob"][t, k])) for t, k in np.argwhere(seg["valid"])]


def test_time_limits_can_be_treated_as_terminations():
    env, _ = passed_as("in_process")
    pi = ScriptedPolicy(ScriptedEnv)
    collector = Collector(env, pi, 21, bootstrap_time_limits=False)
    limits = 0
    for _ in range(4):
        seg = collector.collect(np.random.default_rng(0))
        add_values(seg, pi.values)
        add_vtarg_and_adv(seg, GAMMA, LAM)
        limits += seg["truncated"].sum()
        expected = expected_targets([row for _, _, row in valid_rows(seg)], bootstrapping=())
        for t, k, row in valid_rows(seg):
            assert (seg["adv"][t, k], seg["tdlamret"][t, k]) == pytest.approx(expected[row], rel=0, abs=ATOL)
    assert limits > 3


@every_kind
def test_targets_follow_from_the_script(kind):
    for seg in segments(kind):
        rows = valid_rows(seg)
        expected = expected_targets([row for _, _, row in rows])
        assert len(expected) == len(rows)
        for t, k, row in rows:
            np.testing.assert_allclose(
                (seg["adv"][t, k], seg["tdlamret"][t, k]), expected[row], rtol=0, atol=ATOL, err_msg=str(row)
            )


@every_kind
def test_each_step_of_the_script_is_seen_once_and_in_order(kind):
    seen = {}
    for seg in segments(kind):
        for _, k, row in valid_rows(seg):
            seen.setdefault(k, []).append(row)
    for k, rows in seen.items():
        steps = [(k, episode, step) for episode in range(30) for step in range(script(k, episode)[0])]
        assert rows == steps[: len(rows)]


@every_kind
def test_rewards_and_ends_are_in_the_row_of_their_action(kind):
    for seg in segments(kind):
        for t, k, row in valid_rows(seg):
            length, end = script(*row[:2])
            ended = row[2] == length - 1
            assert seg["rew"][t, k] == reward(*row)
            assert (seg["terminated"][t, k], seg["truncated"][t, k]) == (
                ended and end != "limit",
                ended and end != "death",
            )


@every_kind
def test_only_next_step_mode_has_invalid_rows_one_after_each_end(kind):
    ended_before = np.zeros(3, bool)
    for seg in segments(kind):
        ends = seg["terminated"] | seg["truncated"]
        after_an_end = np.concatenate([ended_before[None, : ends.shape[1]], ends[:-1]])
        np.testing.assert_array_equal(seg["valid"], ~after_an_end if kind is AutoresetMode.NEXT_STEP else True)
        ended_before = ends[-1]


@every_kind
def test_returns_and_lengths_are_of_the_finished_episodes(kind):
    found, finished = [], []
    for seg in segments(kind):
        found += zip(seg["ep_rets"], seg["ep_lens"])
        ended = [row for t, k, row in valid_rows(seg) if seg["terminated"][t, k] or seg["truncated"][t, k]]
        finished += [
            (sum(reward(k, episode, step) for step in range(last + 1)), last + 1) for k, episode, last in ended
        ]
    assert len(finished) >= 3
    assert sorted(found) == sorted(finished)  # exact: sums of quarters


@every_kind
def test_reset_truncates_all_episodes_and_forgets_their_returns(kind):
    env, envs = passed_as(kind)
    collector = Collector(env, ScriptedPolicy(ScriptedEnv), 2 * len(envs))
    collector.reset([1] * len(envs))
    collector.collect(np.random.default_rng(0))
    before = [inner.episode for inner in envs]
    collector.reset([2] * len(envs))
    seg = collector.collect(np.random.default_rng(0))
    assert seg["new"][0].all() and seg["valid"][0].all()
    np.testing.assert_array_equal(seg["ob"][0], [observation(k, episode + 1, 0) for k, episode in enumerate(before)])
    for k in range(len(envs)):
        assert before[k] + 1 == seg["ob"][0, k, 1]
    assert all(
        ep_len == script(int(k), int(episode))[0]
        for (k, episode), ep_len in zip(
            [seg["ob"][t, k][:2] for t, k in np.argwhere(seg["terminated"] | seg["truncated"])], seg["ep_lens"]
        )
    )


@every_kind
def test_actions_are_clipped_for_the_environment_only(kind):
    env, envs = passed_as(kind)
    pi = ScriptedPolicy(ScriptedEnv)
    seg = Collector(env, pi, 10 * len(envs)).collect(np.random.default_rng(4))
    noise = pi.pdtype.noise(np.random.default_rng(4), (10, len(envs)))
    np.testing.assert_array_equal(seg["ac"], 3 * noise)
    assert (seg["ac"] < LOW).any() and (seg["ac"] > HIGH).any()
    for k, inner in enumerate(envs):
        np.testing.assert_array_equal(
            inner.actions, np.minimum(np.maximum(seg["ac"][seg["valid"][:, k], k], LOW), HIGH)
        )


def test_prevac_is_the_previous_action_across_segments_and_zero_at_the_start():
    env, _ = passed_as("in_process")
    collector = Collector(env, ScriptedPolicy(ScriptedEnv), 12)
    first, second = (collector.collect(np.random.default_rng(seed)) for seed in (0, 1))
    actions, before = (np.concatenate([first[key], second[key]]) for key in ("ac", "prevac"))
    np.testing.assert_array_equal(before[0], 0)
    np.testing.assert_array_equal(before[1:], actions[:-1])


def test_env_gives_arrays_without_environment_axis():
    seg = next(traj_segment_generator(ScriptedPolicy(ScriptedEnv), ScriptedEnv(0), 5, True, seed=0))
    assert seg["ob"].shape == (5, 3) and seg["ac"].shape == (5, 2) and seg["last_ob"].shape == (3,)
    for key in ("rew", "vpred", "new", "final_vpred"):
        assert seg[key].shape == (5,)
    assert np.shape(seg["nextvpred"]) == ()


class RankZeroEnv(ScriptedEnv):
    action_space = gym.spaces.Box(-1, 1, ())
    observation_space = gym.spaces.Box(-np.inf, np.inf, ())

    def reset(self, **kwargs):
        super().reset(**kwargs)
        return np.float32(7), {}

    def step(self, action):
        assert np.shape(action) == ()
        return np.float32(7), *super().step(action)[1:]


@pytest.mark.parametrize("kind", ["env", "in_process", AutoresetMode.SAME_STEP], ids=str)
def test_spaces_of_rank_0_are_collected(kind):
    env, envs = passed_as(kind, env_class=RankZeroEnv)
    seg = Collector(env, ScriptedPolicy(RankZeroEnv), 6 * len(envs)).collect(np.random.default_rng(0))
    assert seg["ob"].shape == (6, len(envs), 1) and seg["ac"].shape == (6, len(envs))
    for k, inner in enumerate(envs):
        np.testing.assert_array_equal(inner.actions, np.clip(seg["ac"][:, k], -1, 1))


class ReusingEnv(ScriptedEnv):
    """Returns the same buffer in each step, as fast environments do."""

    def reset(self, **kwargs):
        self.buffer = getattr(self, "buffer", np.zeros(3, np.float32))
        self.buffer[:] = super().reset(**kwargs)[0]
        return self.buffer, {}

    def step(self, action):
        ob, *rest = super().step(action)
        self.buffer[:] = ob
        return self.buffer, *rest


@pytest.mark.parametrize("kind", ["env", "in_process", AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED], ids=str)
def test_final_observation_is_copied_from_a_buffer_that_is_reused(kind):
    env, envs = passed_as(kind, env_class=ReusingEnv)
    seg = Collector(env, ScriptedPolicy(ReusingEnv), 12 * len(envs)).collect(np.random.default_rng(0))
    assert seg["final_obs"]
    for t, k, ob in seg["final_obs"]:
        episode = int(seg["ob"][t, k, 1])
        np.testing.assert_array_equal(ob, observation(k, episode, script(k, episode)[0]))


def test_in_process_vector_env_steps_like_gymnasiums_same_step():
    ours, _ = passed_as("in_process")
    theirs, _ = passed_as(AutoresetMode.SAME_STEP)
    np.testing.assert_array_equal(ours.reset(seed=[1, 2, 3])[0], theirs.reset(seed=[1, 2, 3])[0])
    actions = np.zeros((3, 2), np.float32)
    for _ in range(12):
        (*ours_now, our_info), (*theirs_now, their_info) = ours.step(actions), theirs.step(actions)
        for a, b in zip(ours_now, theirs_now):
            np.testing.assert_array_equal(a, b)
        assert ("final_obs" in our_info) == ("final_obs" in their_info)
        for a, b in zip(our_info.get("final_obs", []), their_info.get("final_obs", [])):
            np.testing.assert_array_equal(a, b)


def test_gymnasiums_vectorised_cartpole_is_collected():
    """It is not a list of environments: its reset takes one int, not a list."""
    env = gym.make_vec("CartPole-v1", 2, vectorization_mode="vector_entry_point")
    pi = ScriptedPolicy(
        type("Spaces", (), {"observation_space": env.single_observation_space, "action_space": env.single_action_space})
    )
    # the pole falls over within about ten steps
    pi.actor = lambda num_envs, noise: lambda ob, t: np.ones(num_envs, np.int32)
    collector = Collector(env, pi, 60)
    collector.reset([3, 4])
    seg = collector.collect(np.random.default_rng(0))
    assert seg["terminated"].any() and not seg["valid"].all()
