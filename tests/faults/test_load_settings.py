"""Settings and checkpoints of a run that are damaged, foreign or made to attack: refused in one line, and nothing on disk is touched."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import forged
import jobs
import numpy as np
import pytest

from baselines_ppo.__main__ import main
from baselines_ppo.cli.parser import parse
from baselines_ppo.config.config_files import CONFIG_FORMAT, load_overrides
from baselines_ppo.config.presets import PRESETS
from baselines_ppo.config.resolved_config import ResolvedConfig
from baselines_ppo.experiment.setup import resolve_config
from baselines_ppo.train.preflight import build_probe_policy, check_resources
from baselines_ppo.train.resume import rewind_to_checkpoint
from common.runs.log_files import RunLogFiles
from common.runs.run_directory import RunDirectory
from common.training.state import validate_checkpoint

WORDS = [
    "--env",
    "Pendulum-v1",
    "--hid-size",
    "8",
    "--timesteps-per-actorbatch",
    "64",
    "--optim-batchsize",
    "32",
    "--optim-epochs",
    "1",
    "--num-envs",
    "1",
    "--max-iters",
    "2",
    "--checkpoint-every",
    "1",
    "--keep-checkpoints",
    "1",
    "--report",
    "false",
    "--quiet",
]
CHECKPOINT = "checkpoints/ckpt-00000002.safetensors"
BASE = {"env": "Pendulum-v1", "max_iters": 1}


def start(path):
    """What a run does with `--config PATH` before it touches the disk."""
    config = resolve_config(load_overrides(path, {}, 1)[0], 1, 1)
    pi = build_probe_policy(config)
    check_resources(config, pi)


def config_of(**changed):
    whole = {"format": CONFIG_FORMAT, "ranks": 1, "typed": BASE, "settings": BASE | {"policy_settings": {}}}
    return whole | changed


SETTINGS = {
    "10^9 units": ({"hid_size": 10**9}, ["hid_size=1000000000", "memory"]),
    "a million layers": ({"num_hid_layers": 10**6}, ["num_hid_layers=1000000"]),
    "10^12 steps": (
        {"timesteps_per_actorbatch": 10**12},
        ["timesteps_per_actorbatch=1000000000000: a segment", "memory"],
    ),
    "10^12 rows": ({"optim_batchsize": 10**12}, ["optim_batchsize=1000000000000"]),
    "10^12 epochs": ({"optim_epochs": 10**12}, ["optim_epochs=", "memory"]),
    "10^9 environments": ({"num_envs": 10**9}, ["num_envs=1000000000"]),
    "10^5 environments": ({"num_envs": 10**5}, ["files"]),
    "10^9 workers": ({"env_workers": 10**9}, ["env_workers="]),
    "10^9 threads": ({"env_threads": 10**9}, ["env_threads="]),
    "10^12 episodes": ({"eval_episodes": 10**12}, ["eval_episodes="]),
    "an int beyond 63 bits": ({"seed": 2**63}, ["seed", "an integer"]),
    "an int beyond floats": ({"optim_epochs": 10**400}, ["optim_epochs", "an integer"]),
    "an int of 5,000 digits": ('{"seed": 1' + "0" * 5000 + "}", ["read"]),
    "an infinite int": ({"optim_epochs": float("inf")}, ["optim_epochs", "an integer"]),
    "NaN for an int": ({"seed": float("nan")}, ["seed"]),
    "NaN": ({"gamma": float("nan")}, ["gamma=nan"]),
    "a NaN of the run's": ({"reward_scale": float("nan")}, ["reward_scale=nan"]),
    "infinity": ({"optim_stepsize": float("inf")}, ["optim_stepsize=inf"]),
    "an int below 0": ({"num_envs": -1}, ["num_envs=-1"]),
    "a fraction of an int": ({"optim_epochs": 2.5}, ["optim_epochs: invalid '2.5': must be an integer"]),
    "true for an int": ({"optim_epochs": True}, ["optim_epochs: invalid 'True': must be an integer"]),
    "true for a number": ({"gamma": True}, ["gamma"]),
    "a list for an int": ({"hid_size": [8]}, ["hid_size"]),
    "an object for an int": ({"hid_size": {"a": 8}}, ["hid_size"]),
    "a list for text": ({"env": ["Pendulum-v1"]}, ["invalid env=['Pendulum-v1']: must be text"]),
    "an int for a name": ({"init": 1}, ["invalid init=1: must be text"]),
    "an unknown name": ({"init": "zeros\n"}, ["init='zeros\\n'", "orthogonal"]),
    "an unknown key": ({"__class__": 1}, ["unknown setting '__class__'"]),
    "a key of much text": ({"x\n" * 10**4: 1}, ["unknown setting"]),
    "deep JSON": ('{"env_kwargs":' + "[" * 10**5, ["nested too deeply"]),
    "deep arguments": ('{"env": "Pendulum-v1", "env_kwargs":' + '{"a":' * 900 + "1" + "}" * 901, []),
    "not UTF-8": (b"\xff\xfe{}", ["cannot read"]),
    "2 MB": (" " * 2 * forged.MB + "{}", ["1,048,576 bytes"]),
    "a list": ("[1]", ["must contain a JSON object"]),
    "null": ("null", ["must contain a JSON object"]),
    "a module that is none": ({"env": "..x:Y-v0"}, ["unknown environment '..x:Y-v0'"]),
    "no environment's name": ({"env": "\0"}, ["unknown environment"]),
    "arguments that are not its own": ({"env_kwargs": {"gravity": []}}, ["cannot make Pendulum-v1", "gravity"]),
    "a log std of 10^300": ({"init_logstd": 1e300}, ["init_logstd=1e+300"]),
    "another version's format": (config_of(format="baselines_ppo.config.2"), ["unknown setting"]),
    "another version's setting": (config_of(settings=BASE | {"dropout": 1}), ["unknown setting 'dropout'"]),
    "a list for the algorithm": (config_of(settings=BASE | {"alg": ["ppo"]}), ["invalid alg=['ppo']: must be text"]),
    "ranks of text": (config_of(ranks="1"), ["ranks='1'"]),
    "true for ranks": (config_of(ranks=True), ["ranks=True"]),
    "settings that are a list": (config_of(settings=[]), ["settings is []"]),
    "typed that is text": (config_of(typed="x"), ["typed is 'x'"]),
    "a policy that is text": (config_of(settings={"policy_settings": "x"}), ["policy_settings is 'x'"]),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_config_that_cannot_be_is_refused_before_anything_is_built(case, tmp_path):
    content, parts = SETTINGS[case]
    if isinstance(content, dict):
        content = json.dumps(content if "settings" in content else BASE | content)
    path = tmp_path / "config.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with forged.refused(*parts):
        start(path)


def test_the_base_of_these_cases_is_taken(tmp_path):
    for content in (BASE, config_of()):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(content))
        start(path)


def test_the_command_line_says_it_in_one_line(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(BASE | {"hid_size": 10**9}))
    done = jobs.run(1, jobs.RUN, "--config", path, "--run-dir", tmp_path / "run")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert (
        done.stderr.startswith("run.py: error: hid_size=1000000000, num_hid_layers=2: the network needs")
        and not (tmp_path / "run").exists()
    )


def test_counts_keep_all_their_digits():
    assert (
        parse(["--seed", str(2**62 + 1)])[0]["seed"] == 2**62 + 1
        and parse(["--num-timesteps", "1e6"])[0]["num_timesteps"] == 10**6
    )


# ---- a run that goes on


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main([*WORDS, "--run-dir", str(folder)]) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path):
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
    "a rewbuffer of ints": (array("rewbuffer", np.zeros(3, np.int64)), ["rewbuffer is int64"]),
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
        ["ob_space", "another run's"],
    ),
    "another class": (
        lambda arrays, metadata: metadata["policy"].update({"class": "CnnPolicy"}),
        ["CnnPolicy", "another run's"],
    ),
    "another format": (
        lambda arrays, metadata: metadata.update(format="baselines_ppo.checkpoint.2"),
        ["another version of this package"],
    ),
}


def resume(folder, capsys, *parts):
    """`--resume` must end with status 2, one line that holds `parts`, and every file of the run and beside it as it was."""
    before = forged.contents(folder.parent)
    capsys.readouterr()
    assert main(["--run-dir", str(folder), "--resume", "--max-iters", "3"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and len(lines[0]) < 1000 and all(part in lines[0] for part in parts), lines
    assert forged.contents(folder.parent) == before


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_a_checkpoint_that_cannot_be_is_refused_before_a_log_is_cut(case, run, capsys):
    change, parts = CHECKPOINTS[case]
    forged.forge(run / CHECKPOINT, change)
    with (run / "progress.csv").open("a") as log:
        log.write("what came after the checkpoint\n")
    resume(run, capsys, *parts)


@pytest.mark.parametrize(
    "change, parts",
    [
        (lambda c: c["settings"].update(timesteps_per_actorbatch=10**13), ["10000000000000", "memory"]),
        (lambda c: c["settings"].update(num_envs="one"), ["num_envs", "an integer"]),
        (lambda c: c["settings"].update(gamma=float("nan")), ["gamma=nan"]),
        (lambda c: c["settings"].update(num_envs=None), ["num_envs=None"]),
        (lambda c: c["settings"].update(gamma=2.0), ["config.json: invalid gamma=2.0"]),
        (lambda c: c["settings"].update(env=3), ["invalid env=3: must be text"]),
        (lambda c: c["settings"].pop("alg"), ["alg is missing"]),
        (lambda c: c["settings"].update(policy_settings=[1]), ["policy_settings"]),
        (lambda c: c["settings"].update(dropout=1), ["unknown setting 'dropout'"]),
        (lambda c: c["settings"]["policy_settings"].update(hid_size=10**9), ["hid_size=1000000000"]),
        (lambda c: c["settings"]["policy_settings"].update(kind="large"), ["kind is not a setting of the mlp policy"]),
        (lambda c: c["settings"]["policy_settings"].update(hid_size=9), ["another model"]),
        (lambda c: c["settings"].update(env="MountainCarContinuous-v0"), ["another model"]),
        (lambda c: c.update(ranks=True), ["ranks=True"]),
        (lambda c: c.update(typed=[["env", 1]]), ["typed"]),
        (lambda c: c["typed"].update(env=None), ["--env"]),
        (lambda c: c.update(format="baselines_ppo.config.2"), ["not written by this program"]),
    ],
)
def test_a_runs_own_config_that_cannot_be_is_refused(change, parts, run, capsys):
    config = json.loads((run / "config.json").read_text())
    change(config)
    (run / "config.json").write_text(json.dumps(config))
    resume(run, capsys, *parts)


def test_a_best_policy_that_cannot_be_read_refuses_the_run_before_anything_is_touched(run, capsys):
    (run / "best").mkdir()
    forged.forge(
        run / "policy/policy.safetensors",
        lambda arrays, metadata: metadata.update(format="baselines_ppo.policy.2"),
        run / "best/policy.safetensors",
    )
    with (run / "progress.csv").open("a") as log:
        log.write("what came after the checkpoint\n")
    resume(
        run,
        capsys,
        "best/policy.safetensors is a 'baselines_ppo.policy.2'",
        "another version",
        "move the file away to resume without it",
    )


@pytest.mark.parametrize(
    "target",
    ["outside/progress.csv", f"run/{CHECKPOINT}", "nothing"],
    ids=["out of the folder", "inside it", "to nothing"],
)
def test_a_log_that_is_a_link_is_not_cut(target, run, capsys):
    (run / "progress.csv").unlink()
    (run / "progress.csv").symlink_to(run.parent / target)
    forged.forge(run / CHECKPOINT, sizes(progress_csv=1))
    resume(run, capsys, "progress.csv is a link")


@pytest.mark.parametrize("name", ["checkpoints", "best", "policy", "start", "tb", "ranks", "post-mortem", ".lock"])
def test_a_folder_whose_parts_are_links_out_of_it_is_refused(name, run, capsys):
    if name in ("best", "start", "post-mortem"):  # which this run does not have
        (run / name).mkdir()
    (run / name).rename(run.parent / "outside" / "moved")
    (run / name).symlink_to(run.parent / "outside" / "moved")
    resume(run, capsys, f"{run / name} is a link, and a run writes into its own directory only")


def cut(folder, found):
    logs = RunLogFiles(folder, 0)
    missing = logs.check(found)
    logs.truncate_to(found)
    return missing


def test_sizes_reach_no_other_file_and_lengthen_none(run):
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
    cut(run, RunDirectory(run).log_sizes(0) | evil)
    assert forged.contents(run.parent / "outside") == outside and all(
        (run / name).read_bytes() == data for name, data in kept.items()
    )
    for size in (-1, 1.0, True, "1", None):
        with forged.refused("progress.csv"):
            cut(run, {"progress.csv": size})
    assert (run / "progress.csv").stat().st_size == whole


def test_rows_that_are_missing_are_said_and_what_is_left_of_them_stays_whole(run, capsys):
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


def test_whole_rows_end_with_a_newline(tmp_path):
    for text, whole in (("", 0), ("a", 0), ("a\nb", 2), ("a\n", 2), ("a\n" + "b" * 10**4, 2), ("b" * 10**4, 0)):
        (tmp_path / "progress.csv").write_text(text)
        cut(tmp_path, {"progress.csv": 10**5})
        assert (tmp_path / "progress.csv").read_text() == text[:whole]
    for text, whole in (("#{}\nr,l", 0), ("#{}\nr,l,t\n1", 10)):  # or rows would be appended to half a header
        (tmp_path / "0.0.monitor.csv").write_text(text)
        cut(tmp_path, {"0.0.monitor.csv": 100})
        assert (tmp_path / "0.0.monitor.csv").read_text() == text[:whole]


def test_all_ranks_go_back_to_the_checkpoint_that_rank_0_has_chosen(run):
    """This one, on another host, still sees the folder as it was before there was one."""
    chosen = RunDirectory(run).checkpoints.latest(validate_checkpoint)
    chosen[1]["logs"].append({"1.0.monitor.csv": 4})
    shutil.rmtree(run / "checkpoints")
    (run / "1.0.monitor.csv").write_text("r,l\n1,2\n")
    other = SimpleNamespace(
        rank=1, size=2, run_on_root=lambda function: chosen, gather=lambda value: [[], value], barrier=lambda: None
    )
    config = json.loads((run / "config.json").read_text())
    assert rewind_to_checkpoint(RunDirectory(run), other, False, build_probe_policy(ResolvedConfig.from_dict(config["settings"]))) is chosen
    assert (run / "1.0.monitor.csv").read_text() == "r,l\n"


def test_what_was_forged_above_goes_on_when_it_is_not(run):
    forged.forge(run / CHECKPOINT, lambda arrays, metadata: None)
    assert main(["--run-dir", str(run), "--resume", "--max-iters", "3", "--quiet"]) == 0
    assert len((run / "progress.csv").read_text().splitlines()) == 4


def test_a_run_keeps_its_own_settings_whatever_its_preset_has_become(monkeypatch, tmp_path, capsys):
    now, run = PRESETS["mujoco"], tmp_path / "run"
    # as a preset of before: shorter, one environment, among which 100 steps can be shared out, and no word of how first episodes end
    monkeypatch.setitem(
        PRESETS, "mujoco", replace(now, num_timesteps=100, num_envs=1, stagger=False, learn=now.learn | {"lam": 0.95})
    )
    assert (
        main(
            [
                "--env",
                "Pendulum-v1",
                "--preset",
                "mujoco",
                "--hid-size",
                "8",
                "--timesteps-per-actorbatch",
                "100",
                "--optim-batchsize",
                "32",
                "--optim-epochs",
                "1",
                "--batch",
                "per-rank",
                "--report",
                "false",
                "--quiet",
                "--run-dir",
                str(run),
            ]
        )
        == 0
    )
    before = json.loads((run / "config.json").read_text())
    del before["settings"]["stagger"]
    (run / "config.json").write_text(json.dumps(before))
    monkeypatch.setitem(PRESETS, "mujoco", now)
    given = resolve_config(load_overrides(run / "config.json", {}, 1)[0], 1, 1).to_dict()
    beside = resolve_config(load_overrides(run / "config.json", {"optim_batchsize": 50}, 1)[0], 1, 1).to_dict()
    capsys.readouterr()
    assert main(["--run-dir", str(run), "--resume", "--print-config"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"] == before["settings"] | {
        "stagger": False,
        "run_dir": str(run),
    }
    assert main(["--run-dir", str(run), "--resume", "--num-timesteps", "200"]) == 0
    after = json.loads((run / "config.json").read_text())["settings"]
    assert after == before["settings"] | {"stagger": False, "num_timesteps": 200}
    for found, rows in ((given, 32), (beside, 50)):
        assert (
            found["num_envs"],
            found["stagger"],
            found["lam"],
            found["num_timesteps"],
            found["optim_batchsize"],
        ) == (1, False, 0.95, 100, rows)
