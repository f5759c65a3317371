"""Monitor: its episodes, and its file, which the tools of Baselines and SB3 read."""

import csv
import gc
import json
import os
import subprocess
import sys
import threading
import time

import gymnasium as gym
import pytest

from common.envs.monitor import Monitor, find_monitor
from common.errors import UserError
from common.loggers.logger import CsvOutput, JsonOutput
from common.runs.episodes import read_monitor
from common.runtime import os_features
from common.storage import append_file


class Countdown(gym.Env):
    """Episodes of 2 and 3 steps in turn, rewards 1, 2, 3; the first is terminated, the second truncated."""

    observation_space, action_space = gym.spaces.Discrete(5), gym.spaces.Discrete(2)
    spec = gym.envs.registration.EnvSpec("Countdown-v0")

    def __init__(self):
        self.length = 3

    def reset(self, *, seed=None, options=None):
        self.length, self.t = 5 - self.length, 0
        return 0, {}

    def step(self, action):
        self.t += 1
        over = self.t == self.length
        return self.t, float(self.t), over and self.length == 2, over and self.length == 3, {}


def play(env, steps):
    env.reset()
    for _ in range(steps):
        *_, terminated, truncated, _ = env.step(0)
        if terminated or truncated:
            env.reset()


def rows_of(path):
    with path.open(encoding="utf-8") as file:
        header = file.readline()
        return header, list(csv.DictReader(file))


def test_file_has_a_json_comment_a_header_and_one_row_per_episode(tmp_path):
    path, before = tmp_path / "0.0.monitor.csv", time.time()
    env = Monitor(Countdown(), path)
    play(env, 2 + 3 + 1)
    header, rows = rows_of(path)
    assert header.startswith("#") and path.read_text().split("\n")[1] == "r,l,t"
    metadata = json.loads(header[1:])
    assert metadata["env_id"] == "Countdown-v0" and before <= metadata["t_start"] <= time.time()
    assert [(float(row["r"]), int(row["l"])) for row in rows] == [(3, 2), (6, 3)]  # 1 + 2, 1 + 2 + 3
    assert 0 <= float(rows[0]["t"]) <= float(rows[1]["t"]) <= time.time() - before
    env.close()


def test_row_is_on_disk_when_its_episode_ends(tmp_path):
    play(Monitor(Countdown(), tmp_path / "m.csv"), 2)  # neither closed nor flushed here
    assert len(rows_of(tmp_path / "m.csv")[1]) == 1


def test_stable_baselines3_loads_the_files(tmp_path):
    sb3_monitor, _ = pytest.importorskip("stable_baselines3.common.monitor"), pytest.importorskip("pandas")
    for name, steps in (("0.0", 2 + 3), ("0.1", 2), ("1.0", 1)):  # the last has no episode yet
        play(Monitor(Countdown(), tmp_path / f"{name}.monitor.csv"), steps)
    found = sb3_monitor.load_results(str(tmp_path))
    assert sorted(zip(found["r"], found["l"])) == [(3, 2), (3, 2), (6, 3)] and (found["t"].diff()[1:] >= 0).all()


def test_reopening_appends_and_keeps_the_clock(tmp_path):
    path = tmp_path / "0.0.monitor.csv"
    path.write_text('#{"t_start": 1000.0, "env_id": "Countdown-v0"}\nr,l,t\n3.000000,2,0.100000\n')
    env = Monitor(Countdown(), path)
    play(env, 5)
    env.close()
    header, rows = rows_of(path)
    assert (
        json.loads(header[1:])["t_start"] == 1000.0
        and path.read_text().count("#") == path.read_text().count("r,l,t") == 1
    )
    assert [(float(row["r"]), int(row["l"])) for row in rows] == [(3, 2), (3, 2), (6, 3)]
    assert float(rows[-1]["t"]) > 1e9  # seconds since the t_start of the file, not of this process


def test_an_empty_file_gets_its_header(tmp_path):
    (tmp_path / "m.csv").touch()
    play(Monitor(Countdown(), tmp_path / "m.csv"), 2)
    assert len(rows_of(tmp_path / "m.csv")[1]) == 1


@pytest.mark.parametrize(
    "text", ["r,l,t\n1,2,3\n", "#{\n", "#{}\n", "#[]\n", '#{"t_start": 1}\n', '#{"t_start": 1}\nl,r,t\n']
)
def test_file_of_another_format_is_refused_and_not_changed(tmp_path, text):
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(UserError):
        Monitor(Countdown(), path)
    assert path.read_text() == text


def test_take_episodes_returns_each_episode_once():
    env = Monitor(Countdown())
    play(env, 5)
    assert env.take_episodes() == [(3.0, 2), (6.0, 3)]
    assert env.take_episodes() == []


def test_episode_that_a_reset_interrupts_is_not_recorded():
    env = Monitor(Countdown())
    env.reset()
    env.step(0)
    play(env, 3)
    assert env.take_episodes() == [(6.0, 3)]


def test_monitor_records_rewards_without_outer_wrappers():
    env = gym.wrappers.TransformReward(Monitor(Countdown()), lambda rew: 100 * rew)
    play(env, 2)
    assert find_monitor(env).take_episodes() == [(3.0, 2)]
    assert find_monitor(Countdown()) is None


def test_file_with_byte_order_mark_and_more_columns_is_continued(tmp_path):
    path = tmp_path / "m.csv"
    path.write_bytes(b'\xef\xbb\xbf#{"t_start": 1000.0, "env_id": "None"}\r\nr,l,t,is_success\r\n3,2,0.1,True\r\n')
    play(Monitor(Countdown(), path), 2)
    assert read_monitor(path)[2].returns.tolist() == [3, 3]


# ---- one writer per file


def assert_in_use(path, write=Monitor):
    """Check that opening a file that has a writer raises a UserError of one line."""
    with pytest.raises(
        UserError,
        match="already has a writer .another environment, log or process.; give each writer its own file, or close",
    ) as error:
        write(*[Countdown()] * (write is Monitor), path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_second_environment_cannot_write_to_a_file_until_the_first_is_closed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = Monitor(Countdown(), "logs/0.monitor.csv")  # creates the directory
    (tmp_path / "link.csv").symlink_to("logs/0.monitor.csv")
    assert_in_use("logs/0.monitor.csv")
    assert_in_use(tmp_path / "link.csv")
    play(first, 2)
    first.write_to("logs/1.monitor.csv")
    second = Monitor(Countdown(), "logs/0.monitor.csv")
    play(second, 2)
    first.close()
    Monitor(Countdown(), "logs/1.monitor.csv").close()
    header, rows = rows_of(tmp_path / "logs/0.monitor.csv")
    assert len(rows) == 2 and (tmp_path / "logs/0.monitor.csv").read_text().count("#") == 1


@pytest.mark.parametrize("write", [CsvOutput, JsonOutput])
def test_second_log_cannot_write_to_a_file_until_the_first_is_closed(write, tmp_path):
    first = write(tmp_path / "progress")
    assert_in_use(tmp_path / "progress", write)
    first.close()
    write(tmp_path / "progress").close()


@pytest.mark.filterwarnings("error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning")
def test_unreachable_writer_does_not_block_its_file(tmp_path):
    env = Monitor(Countdown(), tmp_path / "m.csv")
    env.itself = env
    del env
    Monitor(Countdown(), tmp_path / "m.csv")
    gc.collect()
    Monitor(Countdown(), "/dev/null"), Monitor(Countdown(), "/dev/null")  # is never in use


def test_file_of_another_process_is_refused_until_that_process_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(append_file, "LOCK_TIMEOUT", 0.2)
    code = "import sys, time\nfrom common.storage.append_file import AppendOnlyFile\nrows = AppendOnlyFile(sys.argv[1])\nprint(flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "m.csv")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        assert_in_use(tmp_path / "m.csv")
        monkeypatch.setattr(append_file, "LOCK_TIMEOUT", 60)
        ending = threading.Timer(0.3, other.kill)  # workers end some time after a run that was killed
        ending.start()
        Monitor(Countdown(), tmp_path / "m.csv").close()
        ending.join()


def test_forked_process_does_not_block_a_closed_file(tmp_path, monkeypatch):
    monkeypatch.setattr(append_file, "LOCK_TIMEOUT", 0.2)
    first = Monitor(Countdown(), tmp_path / "m.csv")
    copy = os.dup(first.rows.file.fileno())  # a forked child has such a copy
    first.close()
    Monitor(Countdown(), tmp_path / "m.csv").close()
    os.close(copy)


def test_second_writer_in_one_process_is_refused_without_file_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(os_features, "fcntl", None)  # as on Windows
    first = Monitor(Countdown(), tmp_path / "m.csv")
    assert_in_use(tmp_path / "m.csv")
    first.close()
    Monitor(Countdown(), tmp_path / "m.csv").close()


def test_rank_given_the_file_of_another_rank_writes_to_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(append_file, "LOCK_TIMEOUT", 0.1)
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setenv("PMI_RANK", "1")
    code = "import sys\nfrom common.storage.append_file import AppendOnlyFile\nrows = AppendOnlyFile(sys.argv[1])\nprint(flush=True)\nsys.stdin.read()"
    path = tmp_path / "0.monitor.csv"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as rank_0:
        rank_0.stdout.readline()
        env = Monitor(Countdown(), path)
        play(env, 2)
        assert len(rows_of(tmp_path / "1.0.monitor.csv")[1]) == 1 and path.read_text() == ""
        assert (
            capsys.readouterr().err
            == f"rank 1: {path} is another rank's file; this rank writes its episodes to 1.0.monitor.csv\n"
        )
        assert_in_use(tmp_path / "1.0.monitor.csv")  # refused to a second environment of this rank
        rank_0.kill()
