"""Invariants 2, 3 and 6 of the design, on two and on four ranks."""

import fcntl
import json
import re
from pathlib import Path

import jobs
import pytest
from tolerance import gamma, ulps

# Of a gradient: up to 128 rows through four layers make some 300 roundings, relative to the mean of the rows' sizes, which is up to 30 gradients
GRADIENT = 30 * gamma(300)
# Of the way from the start: that, and half an ulp of the parameters, of a norm of 5, at each of 24 steps of a way of 0.02; over three segments, of which
# each is acted with what the last one left. A rank that is left out, or a sum in place of a mean, makes 0.3 or more of it, a weight that is 1 % off 0.01.
THE_WAY = 3 * (GRADIENT + 24 * ulps(0.5, 5) / 0.02)
SCRIPT = Path(__file__).with_name("rank_checks.py")


@pytest.fixture(scope="module", params=[2, 4])
def results(request, tmp_path_factory, worker_id):
    root = tmp_path_factory.getbasetemp()
    root = root if worker_id == "master" else root.parent
    with open(root / f"ranks{request.param}.json", "a+") as found:  # one job for all processes that test
        fcntl.flock(found, fcntl.LOCK_EX)
        found.seek(0)
        if text := found.read():
            return json.loads(text)
        finished = jobs.run(
            request.param, SCRIPT, tmp_path_factory.mktemp("ranks"), *(["--short"] if request.param > 2 else [])
        )
        assert finished.returncode == 0, (
            finished.stderr
        )  # all of it: the stacks of a rank that was killed by a signal are long
        line = next(line for line in finished.stdout.splitlines() if line.startswith("RESULTS "))
        found.write(line.removeprefix("RESULTS "))
        return json.loads(line.removeprefix("RESULTS "))


def test_all_ranks_hold_the_same_bits_after_every_iteration(results):
    assert results["identical_gather"] and results["identical_average"]


def test_ranks_act_with_different_noise_in_different_environments(results):
    assert results["streams_differ"]


def test_timesteps_count_all_ranks(results):
    assert results["timesteps"] == 3 * 64 * results["size"]


def test_gathering_and_averaging_are_the_same_update_to_rounding(results):
    assert results["moved_by"] > 1e-3
    assert results["strategies_differ_by"] < THE_WAY


@pytest.mark.parametrize("name", ["adaptive_kl", "trpo", "reinforce", "a2c"])
def test_the_whole_family_keeps_the_ranks_together(results, name):
    assert results["family"][name][0]


@pytest.mark.parametrize("name", ["adaptive_kl", "trpo", "reinforce", "a2c"])
def test_the_whole_family_gathers_and_averages_alike(results, name):
    _, differ_by = results["family"][name]
    if differ_by is None:
        pytest.skip("checked on two ranks")
    assert differ_by < THE_WAY * (
        4 if name == "trpo" else 1
    )  # the condition of the damped Fisher matrix: its eigenvalues are from 1 to 1 + 2.2


def test_beta_is_the_same_on_all_ranks_and_has_moved(results):
    assert len(set(results["beta"])) == 1 and results["beta"][0] != 1.0


def test_trpos_step_over_ranks_is_the_step_of_one_rank_with_all_rows(results):
    assert (
        results["trpo_halvings"] == 0
    )  # the KL is half of its limit, for the damping is as large as the Fisher matrix: no rounding decides it
    # both products and gradients are off, and the matrix's condition is 4 at the most; a row that is left out of 80 makes 0.02 or so
    assert results["trpo_union_differs_by"] < 4 * 2 * GRADIENT


def test_a_policy_that_only_rank_0_can_read_is_where_all_ranks_start(results):
    assert results["started_from"] == [True] * results["size"]
    assert results["filters_count"] == [3 * 64 * results["size"], 4 * 64 * results["size"]]
    assert (
        results["refused"]
        == ["nowhere: no policy there; give a run folder, a folder of runs, a checkpoint, or a policy.safetensors file"]
        * results["size"]
    )


def test_a_recorded_run_of_several_ranks_has_one_folder_with_the_episodes_of_all(results):
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
def test_one_flipped_bit_is_found_before_a_checkpoint_and_its_rank_and_array_are_named(
    results, averaging, when, name, array
):
    said, checkpoints = results["drift"][f"{averaging}, {when}, {name}"]
    last, size = results["size"] - 1, results["size"]
    # of two that disagree, the one that is not rank 0 is named
    assert re.search(rf": rank {last} of {size} on host \S+ holds another {re.escape(array)} than the rest; ", said), (
        said
    )
    assert checkpoints[0] == "ckpt-00000002.safetensors"  # the newest: it drifted in the third iteration


def test_adam_alone_finds_one_flipped_bit(results):
    assert f"rank {results['size'] - 1} of {results['size']} on host " in results["drift_of_adam"]


def test_adam_steps_by_the_mean_gradient_of_the_ranks(results):
    assert results["mean_gradient"] == pytest.approx(
        (results["size"] + 1) / 2, rel=gamma(8)
    )  # a sum of up to 4, 1 - 0.9, and two products


def test_running_statistics_are_those_of_all_ranks_rows(results):
    # a sum of up to 46 float64 numbers near 1e7, whose mean shifts every deviation by as much; sums in float32 are off by 0.5
    assert results["rms_error"] < 2 * gamma(46 + 10, "float64") * 1e7


def test_the_same_seed_and_ranks_give_the_same_bits(results):
    if "repeats" not in results:
        pytest.skip("checked on two ranks")
    assert results["repeats"]


def test_a_stop_on_one_rank_ends_all_after_the_same_iteration(results):
    if "stopped_by_one" not in results:
        pytest.skip("checked on two ranks")
    assert results["stopped_by_one"] == [1, 1] and results["raised_by_one"] == [2, 2]


def test_ranks_with_different_numbers_of_steps_that_count_stay_together(results):
    if "uneven_rows" not in results:
        pytest.skip("checked on two ranks")
    assert results["uneven_rows"] == [True, True]


def test_ranks_that_wait_sleep(results):
    # seconds of a core, of the 2 that they wait: some 600 looks of 20 us; a rank that polls has 0.5 where four share a core
    assert results["burnt_while_waiting"] < 0.3
