"""Files of settings that are corrupt, foreign or made to attack: refused in one line, and nothing on disk is changed."""

import json
import shutil
from dataclasses import replace

import forged
import jobs
import pytest
from corrupt_runs import refuse_resume, train_short

from baselines_ppo.__main__ import main
from baselines_ppo.cli.parser import parse
from baselines_ppo.config.config_files import CONFIG_FORMAT, load_overrides
from baselines_ppo.config.presets import PRESETS
from baselines_ppo.experiment.setup import resolve_config
from baselines_ppo.train.preflight import build_probe_policy, check_resources

BASE = {"env": "Pendulum-v1", "max_iters": 1}


def prepare_run(path):
    """Do what a run does with `--config PATH` before it writes anything."""
    config = resolve_config(load_overrides(path, {}, 1)[0], 1, 1)
    pi = build_probe_policy(config)
    check_resources(config, pi)


def config_of(**changes):
    content = {"format": CONFIG_FORMAT, "ranks": 1, "typed": BASE, "settings": BASE | {"policy_settings": {}}}
    return content | changes


SETTINGS = {
    "10^9 units": ({"hid_size": 10**9}, ["hid_size=1000000000", "memory"]),
    "a million layers": ({"num_hid_layers": 10**6}, ["num_hid_layers=1000000"]),
    "10^12 steps": (
        {"timesteps_per_actorbatch": 10**12},
        ["timesteps_per_actorbatch=1000000000000: a segment", "memory"],
    ),
    "10^12 samples": ({"optim_batchsize": 10**12}, ["optim_batchsize=1000000000000"]),
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
    "NaN for a setting of the run": ({"reward_scale": float("nan")}, ["reward_scale=nan"]),
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
    "a long key": ({"x\n" * 10**4: 1}, ["unknown setting"]),
    "deep JSON": ('{"env_kwargs":' + "[" * 10**5, ["nested too deeply"]),
    "deep arguments": ('{"env": "Pendulum-v1", "env_kwargs":' + '{"a":' * 900 + "1" + "}" * 901, []),
    "not UTF-8": (b"\xff\xfe{}", ["cannot read"]),
    "2 MB": (" " * 2 * forged.MB + "{}", ["1,048,576 bytes"]),
    "a list": ("[1]", ["must contain a JSON object"]),
    "null": ("null", ["must contain a JSON object"]),
    "not a module": ({"env": "..x:Y-v0"}, ["unknown environment '..x:Y-v0'"]),
    "not an environment's name": ({"env": "\0"}, ["unknown environment"]),
    "unknown arguments of the environment": ({"env_kwargs": {"gravity": []}}, ["cannot make Pendulum-v1", "gravity"]),
    "a log std of 10^300": ({"init_logstd": 1e300}, ["init_logstd=1e+300"]),
    "another version's format": (config_of(format="baselines_ppo.config.2"), ["unknown setting"]),
    "another version's setting": (config_of(settings=BASE | {"dropout": 1}), ["unknown setting 'dropout'"]),
    "a list for the algorithm": (config_of(settings=BASE | {"alg": ["ppo"]}), ["invalid alg=['ppo']: must be text"]),
    "ranks of text": (config_of(ranks="1"), ["ranks='1'"]),
    "true for ranks": (config_of(ranks=True), ["ranks=True"]),
    "settings that are a list": (config_of(settings=[]), ["settings is []"]),
    "text for the explicit settings": (config_of(typed="x"), ["typed is 'x'"]),
    "a policy that is text": (config_of(settings={"policy_settings": "x"}), ["policy_settings is 'x'"]),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_an_invalid_file_is_refused_before_anything_is_built(case, tmp_path):
    content, parts = SETTINGS[case]
    if isinstance(content, dict):
        content = json.dumps(content if "settings" in content else BASE | content)
    path = tmp_path / "config.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with forged.refused(*parts):
        prepare_run(path)


def test_the_base_of_these_cases_is_valid(tmp_path):
    for content in (BASE, config_of()):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(content))
        prepare_run(path)


def test_the_command_line_refuses_a_file_in_one_line(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(BASE | {"hid_size": 10**9}))
    done = jobs.run(1, jobs.RUN, "--config", path, "--run-dir", tmp_path / "run")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    message = "run.py: error: hid_size=1000000000, num_hid_layers=2: the network needs"
    assert done.stderr.startswith(message) and not (tmp_path / "run").exists()


def test_counts_keep_all_their_digits():
    assert parse(["--seed", str(2**62 + 1)])[0]["seed"] == 2**62 + 1
    assert parse(["--num-timesteps", "1e6"])[0]["num_timesteps"] == 10**6


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_short(tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


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
        (lambda c: c["settings"].update(optimizer="kfac"), ["optimizer='kfac' was removed"]),
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
def test_an_invalid_config_of_the_run_is_refused(change, parts, run, capsys):
    config = json.loads((run / "config.json").read_text())
    change(config)
    (run / "config.json").write_text(json.dumps(config))
    refuse_resume(run, capsys, *parts)


def test_a_run_keeps_its_settings_when_its_preset_changes(monkeypatch, tmp_path, capsys):
    current, run = PRESETS["mujoco"], tmp_path / "run"
    # an earlier version of the preset: shorter, one environment (which divides 100 steps), without stagger
    earlier = replace(current, num_timesteps=100, num_envs=1, stagger=False, learn=current.learn | {"lam": 0.95})
    monkeypatch.setitem(PRESETS, "mujoco", earlier)
    words = "--env Pendulum-v1 --preset mujoco --hid-size 8 --timesteps-per-actorbatch 100 --optim-batchsize 32"
    more = "--optim-epochs 1 --batch per-rank --report false --quiet"
    assert main([*words.split(), *more.split(), "--run-dir", str(run)]) == 0
    before = json.loads((run / "config.json").read_text())
    del before["settings"]["stagger"]
    (run / "config.json").write_text(json.dumps(before))
    monkeypatch.setitem(PRESETS, "mujoco", current)
    configs = [
        resolve_config(load_overrides(run / "config.json", explicit, 1)[0], 1, 1)
        for explicit in ({}, {"optim_batchsize": 50})
    ]
    capsys.readouterr()
    assert main(["--run-dir", str(run), "--resume", "--print-config"]) == 0
    printed = json.loads(capsys.readouterr().out)["settings"]
    assert printed == before["settings"] | {"stagger": False, "run_dir": str(run)}
    assert main(["--run-dir", str(run), "--resume", "--num-timesteps", "200"]) == 0
    after = json.loads((run / "config.json").read_text())["settings"]
    assert after == before["settings"] | {"stagger": False, "num_timesteps": 200}
    for config, samples in zip(configs, (32, 50), strict=True):
        assert (config.run.num_envs, config.run.stagger, config.run.num_timesteps) == (1, False, 100)
        assert (config.algorithm.lam, config.algorithm.optim_batchsize) == (0.95, samples)
