"""Results of long benchmarks: torn lines are not read, nothing is cut off that is being written, and a line counts for what it was trained with."""

import json
from dataclasses import replace

import pytest

from baselines_ppo.config.presets import PRESETS
from benchmarks.paper import surrogates
from benchmarks.returns import result_files, tuning
from benchmarks.returns.result_files import Job, Results

TORN = b'{"benchmark": "b", "sett'


def line(setting="a", env="E", seed=0, steps=10, score=1.0, **more):
    return {"benchmark": "b", "setting": setting, "env": env, "seed": seed, "steps": steps, "score": score, **more}


def test_a_torn_last_line_is_not_read_and_the_next_one_is_whole(tmp_path):
    Results("b", tmp_path).add(line(seed=0))
    path = tmp_path / "b.jsonl"
    with path.open("ab") as file:
        file.write(TORN)
    again = Results("b", tmp_path)
    assert [one["seed"] for one in again.lines] == [0]
    again.add(line(seed=1))
    assert [one["seed"] for one in map(json.loads, path.read_text().splitlines())] == [0, 1]
    assert (
        Job("b", "a", "E", 1, 10) in again
        and Job("b", "a", "E", 2, 10) not in again
        and Job("b", "a", "E", 1, 20) not in again
    )


def test_reading_while_another_process_writes_a_line_leaves_the_line_whole(tmp_path):
    Results("b", tmp_path).add(line(seed=0))
    written = json.dumps(line(seed=1)).encode() + b"\n"
    with (tmp_path / "b.jsonl").open("ab", buffering=0) as file:
        file.write(written[:20])
        assert len(Results("b", tmp_path).lines) == 1
        file.write(written[20:])
    assert [one["seed"] for one in Results("b", tmp_path).lines] == [0, 1]
    assert (
        not (tmp_path / "nothing").exists()
        and Results("b", tmp_path / "nothing").lines == []
        and not (tmp_path / "nothing").exists()
    )


def hopper(*words, **more):
    return Job("b", "a", "Hopper-v4", 0, 10, ("--preset", "mujoco", *words), by_settings=True, **more)


def of(job, **more):
    """A line as a training of the job would leave it."""
    return line(
        job.setting,
        job.env,
        job.seed,
        job.steps,
        settings=job.settings | {"preset": "mujoco"},
        git_commit="c" * 40,
        **more,
    )


def test_a_line_counts_only_for_the_settings_that_the_words_come_to_now(tmp_path, monkeypatch):
    results = Results("b", tmp_path)
    results.add(of(hopper()))
    assert (
        hopper() in results and hopper("--clip-param", "0.2") in results and not results.outdated(hopper())
    )  # 0.2 is the default
    assert (
        hopper("--clip-param", "0.1") not in results
        and hopper("--hid-size", "32") not in results
        and results.outdated(hopper("--hid-size", "32")) == 1
    )
    for name, changed in (("learn", PRESETS["mujoco"].learn | {"vf_coef": 0.7}), ("policy", {"mlp": {}})):
        with monkeypatch.context() as patch:
            patch.setitem(PRESETS, "mujoco", replace(PRESETS["mujoco"], **{name: changed}))
            assert hopper() not in results and replace(hopper(), by_settings=False) in results
    assert hopper() in results


def test_a_setting_that_did_not_exist_yet_was_as_its_default_is(tmp_path):
    results, older = Results("b", tmp_path), of(hopper())
    del older["settings"]["bootstrap_time_limits"], older["settings"]["policy_settings"]["vf_hid_size"]
    results.add(older)
    assert (
        hopper() in results
        and hopper("--bootstrap-time-limits", "false") not in results
        and hopper("--vf-hid-size", "32") not in results
    )


def test_a_job_that_plays_its_policy_is_not_done_by_a_line_without_episodes(tmp_path):
    results = Results("b", tmp_path)
    results.add(of(hopper()))
    assert hopper() in results and hopper(episodes=2) not in results
    results.add(of(hopper(), deterministic=[1.0, 2.0]))
    assert results.finished(hopper(episodes=2))["deterministic"] == [1.0, 2.0]


def test_words_that_cannot_be_count_for_nothing_and_are_refused_before_the_first_training(tmp_path):
    results, wrong = Results("b", tmp_path), hopper("--clip-param", "-1")
    results.add(of(hopper()))
    assert wrong not in results
    with pytest.raises(result_files.UserError, match="clip_param=-1.0"):
        result_files.check([hopper(), wrong])


def test_every_line_of_table_one_that_there_is_counts():
    jobs = {job.key: job for time_limits in surrogates.TIME_LIMITS for job in surrogates.jobs(time_limits=time_limits)}
    for name, _ in surrogates.TIME_LIMITS.values():
        results = Results(name)
        counted = [
            jobs[key] in results for one in results.lines if (key := result_files.key_of(one)) in jobs
        ]  # there may be other seeds and lengths, too
        assert counted and all(counted)


def test_what_was_tried_with_an_older_preset_has_a_row_of_its_own(results_here):
    text = "preset=mujoco lam=0.9"
    job = tuning.job_of(text, "Hopper-v4", 100, 10)
    new, old = (
        of(job) | {"benchmark": "tuning", "seed": seed, "score": score} for seed, score in ((100, 3.0), (101, 5.0))
    )
    old |= {"settings": old["settings"] | {"vf_coef": 0.7}, "git_commit": "d" * 40}
    for one in (old, new | {"deterministic": [7.0, 9.0]}):
        Results("tuning").add(one)
    table = tuning.report(["Hopper-v4"], 10).splitlines()
    assert table[2:] == [f"| {text} (as of ddddddd) |  | 5.0 (5) |", f"| {text} | 8.0 (8) | 3.0 (3) |"]
