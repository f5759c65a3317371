"""Checkpoints and logs of a run that are corrupt, foreign or links: a resume is refused, and no file is changed."""

import json
import shutil
from types import SimpleNamespace

import forged
import numpy as np
import pytest
from corrupt_runs import CHECKPOINT, refuse_resume, train_short

from baselines_ppo.__main__ import main
from baselines_ppo.config.resolved_config import ResolvedConfig
from baselines_ppo.train.preflight import build_probe_policy
from baselines_ppo.train.resume import rewind_to_checkpoint
from common.runs.log_files import RunLogFiles
from common.runs.run_directory import RunDirectory
from common.training.state import validate_checkpoint


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_short(tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the run, next to a file that must not change."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "progress.csv").write_text("mine\n" * 100)
    return shutil.copytree(trained, tmp_path / "run")


def counter(name, value):
    return lambda arrays, metadata: metadata["counters"].update({name: value})


def sizes(**found):
    return lambda arrays, metadata: metadata["logs"][0].update(
        {name.replace("_csv", ".csv"): size for name, size in found.items()}
    )


def array(name, x):
    return lambda arrays, metadata: arrays.update({name: x})


CHECKPOINTS = {
    "a counter below 0": (counter("timesteps_so_far", -1), ["timesteps_so_far=-1"]),
    "a counter of 2^63": (counter("iters_so_far", 2**63), ["iters_so_far="]),
    "a counter of 2.0": (counter("iters_so_far", 2.0), ["iters_so_far=2.0"]),
    "a counter of True": (counter("episodes_so_far", True), ["episodes_so_far=True"]),
    "no time": (counter("elapsed", float("nan")), ["elapsed=nan"]),
    "no counters": (lambda arrays, metadata: metadata.pop("counters"), ["counters=None"]),
    "counters in a list": (lambda arrays, metadata: metadata.update(counters=[2]), ["counters=[2]"]),
    "no forced": (lambda arrays, metadata: metadata.pop("forced"), ["forced=None"]),
    "a size below 0": (sizes(progress_csv=-5), ["'progress.csv'=-5"]),
    "a size of 1.5": (sizes(progress_csv=1.5), ["'progress.csv'=1.5"]),
    "a size beyond 63 bits": (sizes(progress_csv=10**30), ["'progress.csv'="]),
    "a size of text": (sizes(progress_csv="1"), ["'progress.csv'='1'"]),
    "logs of two ranks": (lambda arrays, metadata: metadata["logs"].append({}), ["2 ranks"]),
    "no logs": (lambda arrays, metadata: metadata.pop("logs"), ["logs"]),
    "logs in text": (lambda arrays, metadata: metadata.update(logs=["x"]), ["logs=['x']"]),
    "a rewbuffer of ints": (array("rewbuffer", np.zeros(3, np.int64)), ["invalid rewbuffer (int64"]),
    "a NaN": (
        lambda arrays, metadata: arrays["pi/000/pol/fc1/b"].fill(np.nan),
        ["pi/000/pol/fc1/b is nan", "use an older checkpoint"],
    ),
    "a square": (array("lenbuffer", np.zeros((2, 2), np.int64)), ["lenbuffer"]),
    "a long rewbuffer": (array("rewbuffer", np.zeros(10**6)), ["rewbuffer"]),
    "no rewbuffer": (lambda arrays, metadata: arrays.pop("rewbuffer"), ["rewbuffer"]),
    "another network": (array("pi/000/pol/fc1/b", np.zeros(9, np.float32)), ["another model", "(9,)"]),
    "another environment": (
        lambda arrays, metadata: metadata["policy"]["ob_space"].update(high=9.0),
        ["ob_space", "another run"],
    ),
    "another class": (
        lambda arrays, metadata: metadata["policy"].update({"class": "CnnPolicy"}),
        ["CnnPolicy", "another run"],
    ),
    "another format": (
        lambda arrays, metadata: metadata.update(format="baselines_ppo.checkpoint.2"),
        ["another version of this package"],
    ),
}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_an_invalid_checkpoint_is_refused_before_a_log_is_truncated(case, run, capsys):
    change, parts = CHECKPOINTS[case]
    forged.forge(run / CHECKPOINT, change)
    with (run / "progress.csv").open("a") as log:
        log.write("rows after the checkpoint\n")
    refuse_resume(run, capsys, *parts)


def test_an_unreadable_best_policy_refuses_the_run_before_anything_changes(run, capsys):
    (run / "best").mkdir()
    forged.forge(
        run / "policy/policy.safetensors",
        lambda arrays, metadata: metadata.update(format="baselines_ppo.policy.2"),
        run / "best/policy.safetensors",
    )
    with (run / "progress.csv").open("a") as log:
        log.write("rows after the checkpoint\n")
    refuse_resume(
        run,
        capsys,
        "best/policy.safetensors is a 'baselines_ppo.policy.2'",
        "another version",
        "move the file away to resume without it",
    )


@pytest.mark.parametrize(
    "target",
    ["outside/progress.csv", f"run/{CHECKPOINT}", "nothing"],
    ids=["outside", "inside", "dangling"],
)
def test_a_log_that_is_a_link_is_not_truncated(target, run, capsys):
    (run / "progress.csv").unlink()
    (run / "progress.csv").symlink_to(run.parent / target)
    forged.forge(run / CHECKPOINT, sizes(progress_csv=1))
    refuse_resume(run, capsys, "progress.csv is a link")


@pytest.mark.parametrize("name", ["checkpoints", "best", "policy", "start", "tb", "ranks", "post-mortem", ".lock"])
def test_a_directory_with_links_out_of_it_is_refused(name, run, capsys):
    if name in ("best", "start", "post-mortem"):  # this run does not have them
        (run / name).mkdir()
    (run / name).rename(run.parent / "outside" / "moved")
    (run / name).symlink_to(run.parent / "outside" / "moved")
    refuse_resume(run, capsys, f"{run / name} is a link, and a run writes into its own directory only")


def truncate(folder, sizes_by_name):
    logs = RunLogFiles(folder, 0)
    missing = logs.check(sizes_by_name)
    logs.truncate_to(sizes_by_name)
    return missing


def test_recorded_sizes_change_no_other_file_and_lengthen_none(run):
    outside = forged.contents(run.parent / "outside")
    whole = (run / "progress.csv").stat().st_size
    evil = {
        "../outside/progress.csv": 1,
        str(run.parent / "outside" / "progress.csv"): 1,
        "config.json": 1,
        CHECKPOINT: 1,
        "progress.csv": whole + 10**6,
    }
    kept = {name: (run / name).read_bytes() for name in ("config.json", CHECKPOINT, "progress.csv")}
    truncate(run, RunDirectory(run).log_sizes(0) | evil)
    assert forged.contents(run.parent / "outside") == outside and all(
        (run / name).read_bytes() == data for name, data in kept.items()
    )
    for size in (-1, 1.0, True, "1", None):
        with forged.refused("progress.csv"):
            truncate(run, {"progress.csv": size})
    assert (run / "progress.csv").stat().st_size == whole


def test_missing_rows_are_reported_and_complete_rows_remain(run, capsys):
    rows = (run / "progress.csv").read_bytes()
    (run / "progress.csv").write_bytes(rows[:-5])
    (run / "0.0.monitor.csv").unlink()
    capsys.readouterr()
    assert main(["--run-dir", str(run), "--resume", "--max-iters", "3", "--quiet"]) == 0
    assert capsys.readouterr().err == (
        f"run.py: progress.csv has {len(rows) - 5:,} of {len(rows):,} bytes, 0.0.monitor.csv is missing: "
        "continuing without these rows\n"
    )
    left = (run / "progress.csv").read_text().splitlines()
    assert (
        left[:2] == rows.decode().splitlines()[:2]
        and len(left) == 3
        and len(left[2].split(",")) == len(left[0].split(","))
    )


def test_a_log_is_truncated_to_complete_rows(tmp_path):
    for text, size in (("", 0), ("a", 0), ("a\nb", 2), ("a\n", 2), ("a\n" + "b" * 10**4, 2), ("b" * 10**4, 0)):
        (tmp_path / "progress.csv").write_text(text)
        truncate(tmp_path, {"progress.csv": 10**5})
        assert (tmp_path / "progress.csv").read_text() == text[:size]
    for text, size in (("#{}\nr,l", 0), ("#{}\nr,l,t\n1", 10)):  # otherwise rows would follow half a header
        (tmp_path / "0.0.monitor.csv").write_text(text)
        truncate(tmp_path, {"0.0.monitor.csv": 100})
        assert (tmp_path / "0.0.monitor.csv").read_text() == text[:size]


def test_all_ranks_use_the_checkpoint_that_rank_0_selected(run):
    """This rank, on another host, does not see the checkpoint yet."""
    chosen = RunDirectory(run).checkpoints.latest(validate_checkpoint)
    chosen[1]["logs"].append({"1.0.monitor.csv": 4})
    shutil.rmtree(run / "checkpoints")
    (run / "1.0.monitor.csv").write_text("r,l\n1,2\n")
    other = SimpleNamespace(
        rank=1, size=2, run_on_root=lambda function: chosen, gather=lambda value: [[], value], barrier=lambda: None
    )
    config = json.loads((run / "config.json").read_text())
    assert (
        rewind_to_checkpoint(
            RunDirectory(run), other, False, build_probe_policy(ResolvedConfig.from_dict(config["settings"]))
        )
        is chosen
    )
    assert (run / "1.0.monitor.csv").read_text() == "r,l\n"


def test_an_unchanged_checkpoint_is_resumed(run):
    forged.forge(run / CHECKPOINT, lambda arrays, metadata: None)
    assert main(["--run-dir", str(run), "--resume", "--max-iters", "3", "--quiet"]) == 0
    assert len((run / "progress.csv").read_text().splitlines()) == 4
