"""Segments and batches: axes, concatenation, order of samples."""

from dataclasses import fields

import numpy as np
import pytest
from scripted import ScriptedEnv, ScriptedPolicy, passed_as

from common.rollouts.collector import Collector
from common.rollouts.segment import (
    Batch,
    Segment,
    add_values,
    assign_values,
    concat_segments,
    drop_env_axis,
    network_inputs,
)

T, K = 5, 3


def collected(num_envs=K, steps=T):
    """A segment of a scripted environment, with values."""
    env, _ = passed_as("in_process", num_envs)
    pi = ScriptedPolicy(ScriptedEnv)
    seg = Collector(env, pi, steps * num_envs).collect(np.random.default_rng(0))
    add_values(seg, pi.values)
    return seg


def test_all_keys_of_the_collector_are_documented():
    assert collected().keys() <= Segment.__annotations__.keys()


def test_batch_has_the_samples_in_the_order_t_k():
    seg = collected()
    seg["x"], seg["flatparam"] = seg["ob"], np.zeros((T, K, 2))
    seg["adv"], seg["tdlamret"] = seg["rew"], seg["vpred"]
    batch = Batch.from_segment(seg)
    for t in range(T):
        for k in range(K):
            np.testing.assert_array_equal(batch.x[t * K + k], seg["ob"][t, k])
            np.testing.assert_array_equal(batch.ac[t * K + k], seg["ac"][t, k])
            assert batch.atarg[t * K + k] == seg["rew"][t, k]
    assert batch.arrays().keys() == {field.name for field in fields(Batch)}
    assert {len(x) for x in batch.map(lambda x: x[::2]).arrays().values()} == {(T * K + 1) // 2}


def test_values_are_stored_in_the_order_samples_last_final():
    seg = collected()
    final = len(seg["final_obs"])
    assert final > 0
    vpred = np.arange(1.0, T * K + K + final + 1)
    assign_values(seg, vpred)
    np.testing.assert_array_equal(seg["vpred"].reshape(-1), vpred[: T * K])
    np.testing.assert_array_equal(seg["nextvpred"], np.where(seg["last_new"], 0, vpred[T * K : T * K + K]))
    assert [seg["final_vpred"][t, k] for t, k, _ in seg["final_obs"]] == vpred[T * K + K :].tolist()
    assert np.count_nonzero(seg["final_vpred"]) == final


def test_network_inputs_have_the_order_samples_last_final():
    seg = collected()
    seg["x"], seg["bootstrap_x"] = seg["ob"], np.full((K + 2, 3), 7.0)
    inputs = network_inputs(seg)
    np.testing.assert_array_equal(inputs[: T * K], seg["ob"].reshape(T * K, 3))
    np.testing.assert_array_equal(inputs[T * K :], 7.0)


def test_concatenated_segments_are_the_longer_segment():
    env, _ = passed_as("in_process")
    collector = Collector(env, ScriptedPolicy(ScriptedEnv), T * K)
    pieces = []
    for seed in range(2):
        piece = collector.collect(np.random.default_rng(seed))
        pieces.append({name: x for name, x in piece.items() if name not in ("ep_rets", "ep_lens", "steps")})
    joined = concat_segments(pieces)
    assert joined["ob"].shape[:2] == (2 * T, K)
    np.testing.assert_array_equal(joined["rew"][T:], pieces[1]["rew"])
    np.testing.assert_array_equal(joined["last_ob"], pieces[1]["last_ob"])
    for t, k, ob in joined["final_obs"]:
        # environment and episode of the step that it ended
        np.testing.assert_array_equal(ob[:2], joined["ob"][t, k, :2])


@pytest.mark.parametrize("key", ["ob", "ac", "rew", "new", "valid", "vpred", "final_vpred"])
def test_arrays_of_one_environment_lose_its_axis(key):
    seg = collected(num_envs=1)
    np.testing.assert_array_equal(drop_env_axis(seg)[key], seg[key][:, 0])


def test_arrays_without_time_and_lists_keep_their_entries_without_the_axis():
    seg = collected(num_envs=1)
    dropped = drop_env_axis(seg)
    np.testing.assert_array_equal(dropped["last_ob"], seg["last_ob"][0])
    assert np.shape(dropped["nextvpred"]) == () and dropped["nextvpred"] == seg["nextvpred"][0]
    assert dropped["final_obs"] is seg["final_obs"] and dropped["ep_lens"] == seg["ep_lens"]
