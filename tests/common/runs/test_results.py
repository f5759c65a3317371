"""Results of runs from the files of this package, Baselines and Stable-Baselines3; incomplete and invalid files."""

import gzip
import json
import re
import subprocess
import sys

import jobs
import numpy as np
import pytest
from tolerance import gamma

from common.errors import UserError
from common.runs.episodes import read_monitor
from common.runs.results import RunResults, find_runs, running_mean
from common.runs.tables import read_progress

OURS = '#{"t_start": 1000.5, "env_id": "Hopper-v4"}\nr,l,t\n1.500000,3,2.000000\n-2.000000,4,5.000000\n'
BASELINES = '# {"t_start": 1000.5, "env_id": "Hopper-v4"} \nr,l,t\r\n1.5,3,2.0\r\n-2.0,4,5.0\r\n'
SB3 = '#{"t_start": 1000.5, "env_id": "Hopper-v4"}\nr,l,t,is_success,task\r\n1.5,3,2.0,True,"a, b"\r\n-2.0,4,5.0,False,c\r\n'
PROGRESS = {  # three rows each; the first has no return yet
    "ours": "EpLenMean,EpRewMean,EpThisIter,EpisodesSoFar,TimestepsSoFar,TimeElapsed\nnan,nan,0,0,100,1.5\n9,10.5,2,2,200,3.0\n9,11.5,2,4,300,4.5\n",
    "ppo2": "eplenmean,eprewmean,fps,misc/time_elapsed,misc/total_timesteps\n,,66,1.5,100\n9,10.5,66,3.0,200\n9,11.5,66,4.5,300\n",
    "a2c": "eprewmean,fps,total_timesteps,time_elapsed\nnan,66,100,1.5\n10.5,66,200,3.0\n11.5,66,300,4.5\n",
    "deepq": "% time spent exploring,episodes,mean 100 episode reward,steps\n99,0,,100\n98,2,10.5,200\n97,4,11.5,300\n",
    "sb3": 'time/total_timesteps,time/time_elapsed,rollout/ep_rew_mean,note\n100,1.5,,\n200,3.0,10.5,"x, y"\n300,4.5,11.5,\n',
}


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_bytes(text.encode())
    return folder


def monitor(started, *episodes, env="Hopper-v4"):
    return f"#{json.dumps({'t_start': started, 'env_id': env})}\nr,l,t\n" + "".join(
        f"{r},{l},{t}\n" for r, l, t in episodes
    )


@pytest.mark.parametrize("text", [OURS, BASELINES, SB3], ids=["ours", "baselines", "sb3"])
def test_monitor_files_of_three_programs_give_the_same_episodes(text, tmp_path):
    env, started, episodes = read_monitor(write(tmp_path, x_monitor_csv=text) / "x.monitor.csv")
    assert (env, started) == ("Hopper-v4", 1000.5)
    assert (
        episodes.returns.tolist() == [1.5, -2.0]
        and episodes.lengths.tolist() == [3, 4]
        and episodes.times.tolist() == [2.0, 5.0]
    )


@pytest.mark.parametrize("whose", PROGRESS)
def test_progress_files_of_all_programs_give_the_same_curve(whose, tmp_path):
    curve = RunResults(write(tmp_path, progress_csv=PROGRESS[whose])).curve
    steps, returns = curve.points("steps", 100)
    assert steps.tolist() == [200, 300] and returns.tolist() == [10.5, 11.5]
    assert curve.final_return(100) == 11.5
    if whose != "deepq":  # it does not log the time
        assert curve.points("time", 100)[0].tolist() == [3.0, 4.5]
    else:
        assert curve.points("episodes", 100)[0].tolist() == [2, 4]
        with pytest.raises(
            UserError, match="progress.csv does not contain time; choose another --x of steps, episodes"
        ):
            curve.points("time", 100)


@pytest.mark.parametrize(
    "whose, episodes, steps, counted", [("baselines", 35, 2275, "EpisodesSoFar"), ("stable_baselines3", 76, 2020, None)]
)
def test_files_written_by_other_programs_are_read_and_agree(whose, episodes, steps, counted):
    run = RunResults(jobs.ROOT / "tests" / "data" / whose)
    assert (run.env, len(run.episodes.returns), run.episodes.lengths.sum()) == ("CartPole-v1", episodes, steps)
    np.testing.assert_array_equal(run.episodes.returns, run.episodes.lengths)  # one reward of 1 per step
    means = run.column("return")
    # Stable-Baselines3 counts no episodes, but its last row comes after all of them
    for count, mean in zip(run.rows[counted].astype(int), means, strict=True) if counted else [(episodes, means[-1])]:
        assert mean == pytest.approx(run.episodes.returns[:count].mean(), rel=1e-12)
    assert run.column("steps")[-1] - steps in range(2048 // 4)  # episodes that had not ended
    assert np.all(np.diff(run.column("time")) > 0) and np.all(np.diff(run.episodes.times) > 0)


def test_episodes_of_several_files_are_merged_by_end_time(tmp_path):
    # ends at 12, 20; 11.5, 15.5; nothing yet
    run = RunResults(
        write(
            tmp_path,
            **{
                "0_0_monitor_csv": monitor(10, (1, 5, 2), (2, 6, 10)),
                "1_0_monitor_csv": monitor(10.5, (3, 7, 1), (4, 8, 5)),
                "2_0_monitor_csv": monitor(9),
            },
        )
    )
    assert run.episodes.returns.tolist() == [3, 1, 4, 2]
    assert run.episodes.times.tolist() == [2.5, 3, 6.5, 11]  # since 9, the first t_start
    assert run.curve.axes["steps"].tolist() == [7, 12, 20, 26]
    assert run.curve.axes["episodes"].tolist() == [1, 2, 3, 4]


def test_episodes_stay_in_order_if_a_resume_restarts_the_clock(tmp_path):
    assert RunResults(
        write(tmp_path, a_monitor_csv=monitor(0, (1, 1, 50), (2, 1, 90), (3, 1, 4)))
    ).episodes.returns.tolist() == [1, 2, 3]


@pytest.mark.parametrize("length", range(1, 40))
def test_incomplete_last_line_is_ignored(length, tmp_path):
    whole = monitor(0, (1, 2, 3), (4, 5, 6))
    run = RunResults(write(tmp_path, a_monitor_csv=whole[:-length], progress_csv=PROGRESS["ours"][:-length]))
    assert run.episodes.returns.tolist() == [float(line.split(",")[0]) for line in whole[:-length].split("\n")[2:-1]]
    assert len(run.rows.get("TimestepsSoFar", ())) == max(PROGRESS["ours"][:-length].count("\n") - 1, 0)


def test_runs_are_found_at_any_depth_but_not_inside_runs(tmp_path):
    write(tmp_path / "b" / "deep" / "run", progress_csv=PROGRESS["ours"])
    write(tmp_path / "b" / "deep" / "run" / "inside", progress_csv=PROGRESS["ours"])
    write(tmp_path / "a", x_monitor_csv=OURS)
    write(tmp_path / "c", notes_txt="no run")
    assert [str(run.path.relative_to(tmp_path)) for run in find_runs(tmp_path)] == ["a", "b/deep/run"]
    assert find_runs(tmp_path / "a" / "x.monitor.csv")[0].episodes.returns.tolist() == [1.5, -2.0]


def test_settings_include_those_of_the_policy_and_the_ranks(tmp_path):
    config = {"settings": {"env": "Hopper-v4", "lam": 0.9, "policy_settings": {"hid_size": 32}}, "ranks": 4}
    run = RunResults(write(tmp_path, config_json=json.dumps(config)))
    assert run.settings == {"env": "Hopper-v4", "lam": 0.9, "hid_size": 32, "ranks": 4}
    assert run.env == "Hopper-v4" and run.curve is None


@pytest.mark.parametrize(
    "name, text, parts",
    [
        ("x.monitor.csv", "r,l,t\n1,2,3\n", ["is not a Monitor file", "t_start"]),
        ("x.monitor.csv", '#{"env_id": "A"}\nr,l,t\n', ["is not a Monitor file", "t_start"]),
        ("x.monitor.csv", '#{"t_start": 1}\na,b\n1,2\n', ["columns a, b"]),
        ("x.monitor.csv", '#{"t_start": 1}\nr,l,t\n1,2,3\n1,oops,3\n1,2,4\n', ["line 4", "1,oops,3"]),
        ("x.monitor.csv", '#{"t_start": 1}\nr,l,t\n1,2\n1,2,4\n', ["line 3", "'1,2'"]),
        ("progress.csv", "EpRewMean,TimestepsSoFar\n1,2\n1,2,3\n", ["line 3", "3 cells", "header has 2"]),
        ("progress.csv", "a,b\n1,2\n", ["no column of returns", "EpRewMean"]),
    ],
)
def test_invalid_file_is_reported_in_one_line(name, text, parts, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as caught:
        _ = RunResults(tmp_path).curve
    for part in (str(tmp_path / name), *parts):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [read_monitor, read_progress])
def test_binary_or_missing_file_is_reported(read, tmp_path):
    (tmp_path / "odd.csv").write_bytes(bytes(range(256)))
    for path in (tmp_path / "odd.csv", tmp_path / "missing.csv"):
        with pytest.raises(UserError, match=path.name):
            read(path)
    with pytest.raises(UserError, match="no such file"):
        find_runs(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="neither a progress.csv nor"):
        find_runs(tmp_path / "empty")


def test_running_mean_agrees_with_a_mean_over_each_window():
    x = np.random.default_rng(0).normal(size=50)
    for window in (1, 7, 50, 80):
        expected = [x[max(0, i + 1 - window) : i + 1].mean() for i in range(50)]
        # differences of running sums of 50 float64 numbers; a window that is one too wide makes 0.01
        np.testing.assert_allclose(
            running_mean(x, window), expected, rtol=0, atol=2 * gamma(50 + 2, np.float64) * np.abs(x).sum()
        )


def test_running_mean_skips_non_finite_values():
    np.testing.assert_array_equal(running_mean(np.array([np.nan, 1, np.inf, 3, 5]), 2), [np.nan, 1, 1, 3, 4])
    assert len(running_mean(np.zeros(0), 3)) == 0


def test_final_return_is_the_mean_of_the_last_episodes(tmp_path):
    curve = RunResults(
        write(tmp_path, a_monitor_csv=monitor(0, (100, 1, 1), (2, 1, 2), (4, 1, 3), ("nan", 1, 4)))
    ).curve
    assert curve.final_return(2) == 3.0
    assert curve.final_return(100) == pytest.approx(106 / 3)


def test_reading_needs_neither_tensorflow_nor_matplotlib():
    code = (
        "import sys, common.runs.results; "
        "heavy = {'tensorflow', 'matplotlib', 'gymnasium', 'scipy', 'mpi4py'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=jobs.ROOT).returncode == 0


def test_steps_of_progress_csv_take_precedence_over_steps_of_finished_episodes(tmp_path):
    (tmp_path / "0.0.monitor.csv").write_text(
        '#{"t_start": 0, "env_id": "A"}\nr,l,t\n' + "".join(f"1,10,{t}\n" for t in (1, 2, 3, 900))
    )
    # two episodes per iteration of 25 steps, 5 of them truncated; a pause before the last one is not in TimeElapsed
    (tmp_path / "progress.csv").write_text("EpRewMean,EpisodesSoFar,TimestepsSoFar,TimeElapsed\n1,2,25,2.5\n1,4,50,5\n")
    (run,) = find_runs(tmp_path)
    np.testing.assert_allclose(run.curve.axes["steps"], [12.5, 25, 37.5, 50])
    np.testing.assert_allclose(run.curve.axes["time"], [1.25, 2.5, 3.75, 5])


@pytest.mark.parametrize("env_id", ["None", "", None, 3, ["a"]])
def test_invalid_environment_id_is_treated_as_unknown(env_id, tmp_path):
    write(tmp_path, x_monitor_csv=monitor(1, (1, 2, 3), env=env_id))
    assert read_monitor(tmp_path / "x.monitor.csv")[0] is None and RunResults(tmp_path).env is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\n\n" + text,
        lambda text: "\ufeff\r\n" + text,
        lambda text: re.sub(r"} ?,", "}", text.replace("\r", "").replace("\n", ",\n")),
    ],
    ids=["byte order mark", "CRLF", "empty lines", "both", "trailing commas"],
)
def test_changes_by_spreadsheets_and_editors_have_no_effect(change, tmp_path):
    for i, text in enumerate((OURS, BASELINES, SB3)):
        write(tmp_path, **{f"{i}_monitor_csv": change(text)})
        env, started, episodes = read_monitor(tmp_path / f"{i}.monitor.csv")
        assert (env, started, episodes.returns.tolist(), episodes.lengths.tolist()) == (
            "Hopper-v4",
            1000.5,
            [1.5, -2.0],
            [3, 4],
        )
    for i, text in enumerate(PROGRESS.values()):
        write(tmp_path, **{f"{i}_csv": text})
        expected = read_progress(tmp_path / f"{i}.csv")
        write(tmp_path, **{f"{i}_csv": change(text)})
        found = read_progress(tmp_path / f"{i}.csv")
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])


def test_comma_after_the_last_cell_is_ignored(tmp_path):
    write(tmp_path, progress_csv="a,b\n1,2,\n3,4,,\n")
    assert {name: column.tolist() for name, column in read_progress(tmp_path / "progress.csv").items()} == {
        "a": [1, 3],
        "b": [2, 4],
    }
    write(tmp_path, progress_csv="a,b\n1,2,,3\n")
    with pytest.raises(UserError, match="line 2: 4 cells, but the header has 2"):
        read_progress(tmp_path / "progress.csv")


def test_invalid_line_is_reported_with_its_number(tmp_path):
    write(tmp_path, x_monitor_csv="\n\n" + OURS + "oops,1,2\n")
    with pytest.raises(UserError, match="line 7: 'oops,1,2' is not an episode"):
        read_monitor(tmp_path / "x.monitor.csv")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (OURS.encode("utf-16"), "it is UTF-16 text; save it as UTF-8"),
        (b"\xfe\xff" + OURS.encode("utf-16-be"), "it is UTF-16 text; save it as UTF-8"),
        (gzip.compress(OURS.encode(), mtime=0), "it is compressed; unpack it with gunzip"),
    ],
    ids=["utf-16", "utf-16-be", "gzip"],
)
def test_file_of_another_encoding_is_reported(data, says, tmp_path):
    for name, read in (
        ("x.monitor.csv", read_monitor),
        ("progress.csv", read_progress),
        ("config.json", lambda path: RunResults(path.parent).config),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError) as error:
            read(tmp_path / name)
        assert str(error.value) == f"cannot read {tmp_path / name}: {says}"
        (tmp_path / name).unlink()


def test_a_config_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "config.json").write_bytes(b'\xef\xbb\xbf{"settings": {"env": "Hopper-v4"}}')
    assert RunResults(tmp_path).env == "Hopper-v4"
