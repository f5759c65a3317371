"""Trainings on two and on four ranks: replicas, averaging, random streams, checks of divergence. `rank_checks.py` runs them."""

import re
from pathlib import Path

import jobs
import pytest
from tolerance import change_error, gamma, gradient_error

ROUNDINGS = 300  # of up to 128 samples through four layers
GRADIENT = gradient_error(ROUNDINGS)
CHANGE = change_error(ROUNDINGS, steps=24, size=5, change=0.02)
SCRIPT = Path(__file__).with_name("rank_checks.py")


@pytest.fixture(scope="module", params=[2, 4])
def results(request, tmp_path_factory, worker_id):
    short = ["--short"] if request.param > 2 else []
    return jobs.results_of_ranks(tmp_path_factory, worker_id, request.param, SCRIPT, *short)


def test_all_ranks_are_bit_identical_after_each_iteration(results):
    assert results["identical_gather"] and results["identical_average"]


def test_ranks_act_with_different_noise_in_different_environments(results):
    assert results["streams_differ"]


def test_timesteps_count_all_ranks(results):
    assert results["timesteps"] == 3 * 64 * results["size"]


def test_gathering_and_averaging_give_the_same_update_up_to_rounding(results):
    assert results["moved_by"] > 1e-3
    assert results["strategies_differ_by"] < CHANGE


@pytest.mark.parametrize("name", ["adaptive_kl", "separate_fit", "trpo", "reinforce", "a2c"])
def test_all_algorithms_keep_ranks_identical(results, name):
    assert results["family"][name][0]


@pytest.mark.parametrize("name", ["adaptive_kl", "separate_fit", "trpo", "reinforce", "a2c"])
def test_all_algorithms_gather_and_average_alike(results, name):
    _, differ_by = results["family"][name]
    if differ_by is None:
        pytest.skip("checked on two ranks")
    condition = 4 if name == "trpo" else 1  # of the damped Fisher matrix, whose eigenvalues are from 1 to 1 + 2.2
    assert differ_by < CHANGE * condition


def test_beta_is_the_same_on_all_ranks_and_has_changed(results):
    assert len(set(results["beta"])) == 1 and results["beta"][0] != 1.0


def test_trpos_step_over_ranks_equals_that_of_one_rank_with_all_samples(results):
    # the KL is half of its limit, because the damping is as large as the Fisher matrix: rounding cannot change the number of halvings
    assert results["trpo_halvings"] == 0
    # errors of products and gradients, and a condition number of at most 4; leaving out one of 80 samples would cause about 0.02
    assert results["trpo_union_differs_by"] < 4 * 2 * GRADIENT


def test_all_ranks_start_from_a_policy_that_only_rank_0_can_read(results):
    assert results["started_from"] == [True] * results["size"]
    assert results["filters_count"] == [3 * 64 * results["size"], 4 * 64 * results["size"]]
    assert (
        results["refused"]
        == [
            "nowhere: no policy found; choose a run directory, a directory of runs, a checkpoint, or a policy.safetensors file"
        ]
        * results["size"]
    )


def test_recorded_run_of_several_ranks_has_one_directory_with_all_episodes(results):
    found, n = results["recorded"], results["size"]
    assert found["files"] == [*(f"{rank}.0.monitor.csv" for rank in range(n)), "progress.csv"]
    assert (found["ranks"], found["rows"], found["policy"]) == (n, 2, True) and found["episodes"][0] == found[
        "episodes"
    ][1] > n
    assert found["refused"] == ["run already contains a run; choose another run_dir"] * n


@pytest.mark.parametrize(
    "averaging, when, name, array",
    [
        ("gather", "before", "weight", "pi/000/pol/fc1/b"),
        ("gather", "collect", "mean", "pi/ob_rms/mean"),
        ("gather", "after", "weight", "pi/000/pol/fc1/b"),
        ("average", "before", "mean", "pi/ob_rms/mean"),
        ("average", "collect", "weight", "pi/000/pol/fc1/b"),
    ],
)
def test_flipped_bit_is_found_before_a_checkpoint_with_its_rank_and_array(results, averaging, when, name, array):
    message, checkpoints = results["drift"][f"{averaging}, {when}, {name}"]
    last = results["size"] - 1
    # if two ranks differ, the message names the one that is not rank 0
    assert re.match(rf"replicas diverged: rank {last} on host \S+ has a different {re.escape(array)} than ", message), (
        message
    )
    assert checkpoints[0] == "ckpt-00000002.safetensors"  # the latest: the replicas diverged in the third iteration


def test_adams_check_finds_a_flipped_bit(results):
    assert f"rank {results['size'] - 1} on host " in results["drift_of_adam"]


def test_adam_uses_the_mean_gradient_of_the_ranks(results):
    # a sum of up to 4 numbers, 1 - 0.9, and two products
    assert results["mean_gradient"] == pytest.approx((results["size"] + 1) / 2, rel=gamma(8))


def test_running_statistics_are_over_the_samples_of_all_ranks(results):
    # a sum of up to 46 float64 numbers near 1e7; an error of its mean shifts all differences from it; float32 sums would be off by 0.5
    assert results["rms_error"] < 2 * gamma(46 + 10, "float64") * 1e7


def test_same_seed_and_ranks_give_bit_identical_policies(results):
    if "repeats" not in results:
        pytest.skip("checked on two ranks")
    assert results["repeats"]


def test_stop_on_one_rank_stops_all_after_the_same_iteration(results):
    if "stopped_by_one" not in results:
        pytest.skip("checked on two ranks")
    assert results["stopped_by_one"] == [1, 1] and results["raised_by_one"] == [2, 2]


def test_ranks_with_different_numbers_of_valid_steps_stay_identical(results):
    if "uneven_rows" not in results:
        pytest.skip("checked on two ranks")
    assert results["uneven_rows"] == [True, True]


def test_waiting_ranks_sleep(results):
    # CPU seconds of a wait of 2 s: about 600 polls of 20 us; busy waiting would use at least 0.5 s, if four ranks share a core
    assert results["burnt_while_waiting"] < 0.3
