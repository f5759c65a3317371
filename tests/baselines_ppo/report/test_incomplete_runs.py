"""Reports of incomplete and damaged runs."""

import re

import pytest
from PIL import Image
from run_pages import EVALUATIONS, PROGRESS, page_of, write_run


def no_rows(folder):
    (folder / "progress.csv").write_text("")
    (folder / "evaluations.csv").unlink()
    for path in folder.glob("*.monitor.csv"):
        path.unlink()


def header_only(folder):
    (folder / "progress.csv").write_text(PROGRESS)
    (folder / "evaluations.csv").write_text(EVALUATIONS)
    for path in folder.glob("*.monitor.csv"):
        path.write_text('#{"t_start": 1, "env_id": "Pendulum-v1"}\nr,l,t\n')


def one_row(folder):
    (folder / "progress.csv").write_text(PROGRESS + "200,-1500,4,4,1024,3,-0.5,-0.01,0,0.1,0.005,1.4,0.1,0.001\n")
    (folder / "evaluations.csv").write_text(EVALUATIONS + "1024,1,10,5,0,5,5,200\n")
    (folder / "0.0.monitor.csv").write_text('#{"t_start": 1, "env_id": "Pendulum-v1"}\nr,l,t\n-1500,200,1\n')
    (folder / "1.0.monitor.csv").write_text("")


def nothing_finished(folder):
    header_only(folder)
    (folder / "progress.csv").write_text(PROGRESS + "nan,nan,0,0,1024,3,nan,-0.01,0,inf,0.005,1.4,0.1,0.001\n" * 3)


def not_numbers(folder):
    (folder / "evaluations.csv").write_text(EVALUATIONS + "1024,1,10,nan,nan,nan,nan,200\n2048,2,10,inf,0,5,5,200\n")
    with (folder / "0.0.monitor.csv").open("a") as file:
        file.write("nan,200,90\ninf,200,91\n-inf,200,92\n")
    (folder / "progress.csv").write_text((folder / "progress.csv").read_text().replace("0.1,0.005", "nan,-inf"))


def torn(folder):
    for path in (folder / "progress.csv", folder / "evaluations.csv", *folder.glob("*.monitor.csv")):
        path.write_bytes(path.read_bytes()[:-5])


def no_config(folder):
    (folder / "config.json").unlink()


def config_alone(folder):
    no_rows(folder)
    (folder / "progress.csv").unlink()


def of_stable_baselines(folder):
    no_rows(folder)
    no_config(folder)
    (folder / "progress.csv").write_text(
        "time/total_timesteps,time/time_elapsed,rollout/ep_rew_mean,train/loss\n10,1,,\n20,2,5.5,0.3\n"
    )


@pytest.mark.parametrize(
    "state",
    [no_rows, header_only, one_row, nothing_finished, not_numbers, torn, no_config, config_alone, of_stable_baselines],
)
def test_any_run_gives_a_report_without_messages(state, tmp_path, capfd):
    state(write_run(tmp_path / "run"))
    page = page_of(tmp_path / "run")
    assert capfd.readouterr() == ("", "")
    assert "nan" not in re.findall(r"\w+", page.text) and "inf" not in re.findall(r"\w+", page.text)
    Image.open(tmp_path / "run" / "curve.png").verify()


def test_an_unfinished_run_is_resumed_with_its_own_limit(tmp_path):
    text = page_of(write_run(tmp_path / "run", iterations=3)).text
    assert "steps 12,000 40% of 30,000 steps" in text and "--resume " in text and "--resume --num-timesteps" not in text
