"""Result files: incomplete lines are skipped, lines being written are kept, and a line satisfies only jobs with its settings."""

import json
from dataclasses import replace

import pytest

from baselines_ppo.config.presets import PRESETS
from benchmarks.paper import surrogates
from benchmarks.returns import result_files, tuning
from benchmarks.returns.result_files import ResultFile, TrainingJob

INCOMPLETE = b'{"benchmark": "b", "sett'


def line(setting="a", env="E", seed=0, steps=10, score=1.0, **more):
    return {"benchmark": "b", "setting": setting, "env": env, "seed": seed, "steps": steps, "score": score, **more}


def test_incomplete_last_line_is_skipped_and_replaced_by_the_next(tmp_path):
    ResultFile("b", tmp_path).add(line(seed=0))
    path = tmp_path / "b.jsonl"
    with path.open("ab") as file:
        file.write(INCOMPLETE)
    again = ResultFile("b", tmp_path)
    assert [one["seed"] for one in again.lines] == [0]
    again.add(line(seed=1))
    assert [one["seed"] for one in map(json.loads, path.read_text().splitlines())] == [0, 1]
    assert (
        TrainingJob("b", "a", "E", 1, 10) in again
        and TrainingJob("b", "a", "E", 2, 10) not in again
        and TrainingJob("b", "a", "E", 1, 20) not in again
    )


def test_reading_does_not_damage_a_line_that_another_process_is_writing(tmp_path):
    ResultFile("b", tmp_path).add(line(seed=0))
    written = json.dumps(line(seed=1)).encode() + b"\n"
    with (tmp_path / "b.jsonl").open("ab", buffering=0) as file:
        file.write(written[:20])
        assert len(ResultFile("b", tmp_path).lines) == 1
        file.write(written[20:])
    assert [one["seed"] for one in ResultFile("b", tmp_path).lines] == [0, 1]
    assert (
        not (tmp_path / "nothing").exists()
        and ResultFile("b", tmp_path / "nothing").lines == []
        and not (tmp_path / "nothing").exists()
    )


def hopper(*words, **more):
    return TrainingJob("b", "a", "Hopper-v4", 0, 10, ("--preset", "mujoco", *words), match_settings=True, **more)


def of(job, **more):
    """The line that a training of the job writes."""
    return line(
        job.setting,
        job.env,
        job.seed,
        job.steps,
        settings=job.settings | {"preset": "mujoco"},
        git_commit="c" * 40,
        **more,
    )


def test_line_satisfies_only_jobs_that_resolve_to_its_settings(tmp_path, monkeypatch):
    results = ResultFile("b", tmp_path)
    results.add(of(hopper()))
    # 0.2 is the default
    assert hopper() in results and hopper("--clip-param", "0.2") in results and not results.count_outdated(hopper())
    assert (
        hopper("--clip-param", "0.1") not in results
        and hopper("--hid-size", "32") not in results
        and results.count_outdated(hopper("--hid-size", "32")) == 1
    )
    for name, changed in (("learn", PRESETS["mujoco"].learn | {"vf_coef": 0.7}), ("policy", {"mlp": {}})):
        with monkeypatch.context() as patch:
            patch.setitem(PRESETS, "mujoco", replace(PRESETS["mujoco"], **{name: changed}))
            assert hopper() not in results and replace(hopper(), match_settings=False) in results
    assert hopper() in results


def test_setting_missing_from_an_older_line_has_its_default(tmp_path):
    results, older = ResultFile("b", tmp_path), of(hopper())
    del older["settings"]["bootstrap_time_limits"], older["settings"]["policy_settings"]["vf_hid_size"]
    results.add(older)
    assert (
        hopper() in results
        and hopper("--bootstrap-time-limits", "false") not in results
        and hopper("--vf-hid-size", "32") not in results
    )


def test_line_without_evaluation_does_not_satisfy_a_job_with_episodes(tmp_path):
    results = ResultFile("b", tmp_path)
    results.add(of(hopper()))
    assert hopper() in results and hopper(episodes=2) not in results
    results.add(of(hopper(), deterministic=[1.0, 2.0]))
    assert results.find(hopper(episodes=2))["deterministic"] == [1.0, 2.0]


def test_invalid_arguments_match_no_line_and_are_rejected_before_training(tmp_path):
    results, wrong = ResultFile("b", tmp_path), hopper("--clip-param", "-1")
    results.add(of(hopper()))
    assert wrong not in results
    with pytest.raises(result_files.UserError, match="clip_param=-1.0"):
        result_files.validate_settings([hopper(), wrong])


def test_every_committed_line_of_table_1_satisfies_its_job():
    jobs = {job.key: job for time_limits in surrogates.TIME_LIMITS for job in surrogates.jobs(time_limits=time_limits)}
    for name, _ in surrogates.TIME_LIMITS.values():
        results = ResultFile(name)
        # the file may hold other seeds and lengths
        satisfied = [jobs[key] in results for one in results.lines if (key := result_files.key_of(one)) in jobs]
        assert satisfied and all(satisfied)


def test_training_with_an_older_preset_has_a_separate_row(results_here):
    text = "preset=mujoco lam=0.9"
    job = tuning.make_job(text, "Hopper-v4", 100, 10)
    new, old = (
        of(job) | {"benchmark": "tuning", "seed": seed, "score": score} for seed, score in ((100, 3.0), (101, 5.0))
    )
    old |= {"settings": old["settings"] | {"vf_coef": 0.7}, "git_commit": "d" * 40}
    for one in (old, new | {"deterministic": [7.0, 9.0]}):
        ResultFile("tuning").add(one)
    table = tuning.report(["Hopper-v4"], 10).splitlines()
    assert table[2:] == [f"| {text} (as of ddddddd) |  | 5.0 (5) |", f"| {text} | 8.0 (8) | 3.0 (3) |"]
