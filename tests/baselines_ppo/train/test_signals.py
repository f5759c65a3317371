"""A signal stops a run with a forced checkpoint; Ctrl-C ends every command with one line."""

import importlib
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import jobs
import pytest
from terminals import Terminal, seen

from baselines_ppo.play.video import run_in_subprocess
from baselines_ppo.train.signals import STOPPING, training_stop_signals
from common.distributed.communicator import Communicator
from common.storage.array_files import load_arrays

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


@pytest.mark.parametrize("number", NUMBERS)
def test_first_signal_requests_a_stop_and_a_later_one_interrupts(number, monkeypatch):
    monkeypatch.setattr("common.runtime.stop_signals.SIGNAL_DEBOUNCE_SECONDS", 0.2)
    hangup_handler = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # it is ignored if the tests run under nohup
    requests, before = [], {one: signal.getsignal(one) for one in NUMBERS}
    with training_stop_signals(SimpleNamespace(request_stop=requests.append), None):
        signal.raise_signal(number)
        signal.raise_signal(number)  # the shell and the kernel both report a closed terminal
        assert requests == [number]
        time.sleep(0.3)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert {one: signal.getsignal(one) for one in NUMBERS} == before
    signal.signal(signal.SIGHUP, hangup_handler)


def test_sighup_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with training_stop_signals(SimpleNamespace(request_stop=pytest.fail), None):
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


# ---- whole runs


def words(fault, run_dir):
    """A run whose environment does `fault` in its fourth segment of 64 steps."""
    return [
        "--env",
        "failing_ranks:FailsOnOneRank-v0",
        "--env-kwargs",
        json.dumps({"fault": fault, "at": 200}),
        "--run-dir",
        run_dir,
        "--num-envs",
        "1",
        "--batch",
        "per-rank",
        "--timesteps-per-actorbatch",
        "64",
        "--optim-batchsize",
        "32",
        "--max-iters",
        "10000",
    ]


def checkpoints(run_dir):
    """{name: its metadata "forced"}."""
    return {
        path.name: load_arrays(path, "baselines_ppo.checkpoint")[1]["forced"]
        for path in (Path(run_dir) / "checkpoints").iterdir()
    }


@pytest.mark.parametrize(
    "fault, status, drawn, quiet",
    [("interrupt", 130, True, False), ("terminate", 143, False, False), ("terminate", 143, False, True)],
)
def test_signal_stops_a_run_with_its_status_a_forced_checkpoint_and_the_resume_command(
    fault, status, drawn, quiet, tmp_path, cli_here, uncompiled_here
):
    folder = tmp_path / "my run"
    done = cli_here(*words(fault, folder), *(["--quiet"] if quiet else []))
    assert done.returncode == status, done.stderr
    assert checkpoints(folder) == {"ckpt-00000004-forced.safetensors": True}
    resume_hint = f"resume with: python -m baselines_ppo --run-dir '{folder}' --resume\n"
    assert (folder / "report.html").exists() == (folder / "curve.png").exists() == drawn
    if quiet:
        assert (
            done.stdout == ""
            and done.stderr.endswith(f"run.py: stopped early at 256 steps; {resume_hint}")
            and STOPPING not in done.stderr
        )
    else:
        assert done.stderr.endswith(f"{STOPPING}\n") and f"stopped early; {resume_hint}" in done.stdout
        assert (f"draw it with: python -m baselines_ppo.report '{folder}'" in done.stdout) == (not drawn)


def test_signal_during_the_vote_of_the_ranks_is_not_lost(tmp_path, cli_here, uncompiled_here, monkeypatch):
    gather = Communicator.gather
    with monkeypatch.context() as patch:

        def interrupted(self, value):
            found = gather(self, value)
            if isinstance(value, tuple) and value[0] is None:  # a rank's vote
                patch.undo()
                signal.raise_signal(signal.SIGINT)
            return found

        patch.setattr(Communicator, "gather", interrupted)
        assert cli_here(*words("none", tmp_path / "run")[:-1], "9", "--report", "false").returncode == 130
    # after the iteration that had been agreed on
    assert list(checkpoints(tmp_path / "run")) == ["ckpt-00000001-forced.safetensors"]


def test_second_ctrl_c_stops_a_run_immediately_and_writes_nothing_more(tmp_path, cli_here, uncompiled_here):
    done = cli_here(*words("interrupt_twice", tmp_path / "run"))
    assert done.returncode == 130
    assert done.stderr.splitlines()[-2:] == [STOPPING, "run.py: error: interrupted"]
    assert checkpoints(tmp_path / "run") == {} and not (tmp_path / "run/report.html").exists()


def test_ctrl_c_in_the_terminal_of_two_ranks_stops_them_like_one(tmp_path):
    folder = tmp_path / "run"
    terminal = Terminal(
        jobs.command(2, jobs.RUN_UNCOMPILED, *words("none", folder)), cwd=jobs.ROOT, env=jobs.support_path()
    )
    deadline = time.monotonic() + 90
    while not ((folder / "progress.csv").exists() and len((folder / "progress.csv").read_text().splitlines()) > 2):
        assert terminal.process.poll() is None and time.monotonic() < deadline, terminal.text
        time.sleep(0.05)
    terminal.type("\x03")
    assert terminal.end(60) == 130, terminal.text
    ((name, forced),) = ((name, forced) for name, forced in checkpoints(folder).items() if "forced" in name)
    assert forced and (folder / "curve.png").exists() and (folder / "report.html").exists()
    lines = seen(terminal.text)
    after_signal = lines[lines.index(STOPPING) + 1 :]
    assert any(line.startswith("mean return of the last") for line in after_signal)
    command = f"mpirun -n 2 python -m baselines_ppo --run-dir {folder} --resume"
    assert f"stopped early; resume with: {command}" in "".join(after_signal)
    jobs.wait_gone(folder)


# ---- other commands


@pytest.mark.parametrize(
    "module", ["__main__", "plot.__main__", "report.__main__", "export.__main__", "sweep.__main__"]
)
def test_ctrl_c_ends_a_command_with_one_line_and_status_130(module, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("baselines_ppo.cli.parser.Parser.parse_args", interrupt)
    assert importlib.import_module(f"baselines_ppo.{module}").main(["x", "y"]) == 130
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.endswith(": error: interrupted\n")


def interrupt_who_waits(env_id):
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(600)


def test_ctrl_c_closes_a_window(monkeypatch, capfd):
    monkeypatch.setenv("MUJOCO_GL", "egl")  # nothing is to be tried out for it
    children, before = {*multiprocessing.active_children()}, signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_in_subprocess(interrupt_who_waits, "Any-v0")
    finally:
        signal.signal(signal.SIGINT, before)
    assert not {*multiprocessing.active_children()} - children and capfd.readouterr().err == ""
