"""Returns on the way: at which points of a training they are read, and how seeds are combined."""

import math
from types import SimpleNamespace

import pytest

from baselines_ppo.tune.trial_runs import TrialRuns

HEADER = "EpRewMean,EpisodesSoFar,TimestepsSoFar,TimeElapsed\n"


def write(folder, name, returns, steps):
    (folder / name).mkdir(exist_ok=True)
    rows = (f"{value},{i},{step},{i}\n" for i, (value, step) in enumerate(zip(returns, steps)))
    (folder / name / "progress.csv").write_text(HEADER + "".join(rows) + "99,9,9")  # the last row is incomplete


def make_trial(folder, seeds=2, **limits):
    runs = [SimpleNamespace(name=f"seed{seed}", limits=limits or {"num_timesteps": 1000}) for seed in range(seeds)]
    return TrialRuns(SimpleNamespace(index=0), runs, folder)


def test_a_part_has_the_return_of_the_first_row_at_its_end(tmp_path):
    trial = make_trial(tmp_path)
    assert not list(trial.new_values())
    write(tmp_path, "seed0", [1, 2, 3], [90, 100, 350])  # parts 1 and then 2 and 3 are complete
    assert list(trial.new_values()) == [(1, 2.0), (2, 3.0), (3, 3.0)]
    assert not list(trial.new_values())
    write(tmp_path, "seed0", [1, 2, 3, 4], [90, 100, 350, 400])
    assert list(trial.new_values()) == [(4, 4.0)]


def test_values_are_means_over_the_seeds_so_far_in_their_order(tmp_path):
    trial = make_trial(tmp_path)
    write(tmp_path, "seed1", range(11, 21), range(100, 1100, 100))
    assert not list(trial.new_values())  # the first seed comes first, whichever is faster
    write(tmp_path, "seed0", range(1, 11), range(100, 1100, 100))
    found = dict(trial.new_values())
    assert found == {step: float(step) for step in range(1, 11)} | {10 + p: p + 5.0 for p in range(1, 10)}


def test_a_point_before_the_first_episode_has_no_value(tmp_path):
    trial = make_trial(tmp_path)
    write(tmp_path, "seed0", [math.nan, 5], [100, 200])
    assert list(trial.new_values()) == [(2, 5.0)]


def test_a_training_that_has_ended_has_all_parts(tmp_path):
    trial = make_trial(tmp_path)
    write(tmp_path, "seed0", [1, 7], [100, 960])  # rounded down to whole iterations
    trial.scores["seed0"] = 7.0
    assert list(trial.new_values())[-1] == (10, 7.0)


@pytest.mark.parametrize("limits", [{"max_iters": 10}, {"max_episodes": 10}, {"max_seconds": 10}])
def test_other_limits_have_parts_too(tmp_path, limits):
    trial = make_trial(tmp_path, **limits)
    write(tmp_path, "seed0", range(5), range(5))  # five iterations; the last row is after 4 episodes and 4 seconds
    assert len(list(trial.new_values())) == (5 if "max_iters" in limits else 4)
