"""Every example runs at a small length, in this process, and does what it claims."""

import ast
import contextlib
import json
import re
import runpy
import shutil
import sys
from types import ModuleType, SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from jobs import ROOT

from baselines_ppo import load_policy, mlp_policy, pposgd_simple

EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))
MAX_LINES = 60
pytestmark = pytest.mark.usefixtures("no_registrations", "uncompiled_here")


@pytest.fixture
def example(tmp_path, monkeypatch, capfd):
    """A function (name, arguments) that runs an example; returns its output, that of its child processes included."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)

    def run(name, *arguments):
        runpy.run_path(str(ROOT / "examples" / f"{name}.py"))["main"]([*map(str, arguments), "--dir", "here"])
        assert [path.name for path in tmp_path.iterdir()] == ["here"]  # it writes nowhere else
        return capfd.readouterr().out

    return run


def returns(output):
    """The mean returns that an output has, in order."""
    return [float(x) for x in re.findall(r"\d episodes, return (-?[\d.]+) \+- ", output)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_names_its_command_and_arguments(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") < MAX_LINES
    docstring = ast.get_docstring(ast.parse(text))
    assert re.match(r"[A-Z].*\.\n\nCommand: `python examples/", docstring)
    name = path.relative_to(ROOT / "examples").with_suffix("").as_posix()
    assert f"Command: `python examples/{name}.py`" in docstring
    assert '"--timesteps"' in text and f'"--dir", type=Path, default=Path("runs/examples/{name}")' in text


def test_the_readme_lists_every_example_and_notebook():
    listed = re.findall(r"^\| \[`?([\w/.]+)`?\]\(([\w/.]+)\)", (ROOT / "examples" / "README.md").read_text(), re.M)
    assert all(name == target for name, target in listed)
    notebooks = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
    expected = [path.relative_to(ROOT / "examples").as_posix() for path in (*EXAMPLES, *notebooks)]
    assert sorted(name for name, _ in listed) == sorted(expected)


def test_train_and_evaluate(example, tmp_path):
    output = example("train_and_evaluate", "--timesteps", 1024)
    assert re.search(r"1,024 steps: mean return of the last 100 episodes \d+\.\d", output)
    steps, video = re.search(r"return \d+, (\d+) steps, video in (\S+)", output).groups()
    import imageio.v3 as imageio

    frames = imageio.imread(tmp_path / video)
    assert frames.shape[1:] == (400, 600, 3) and 1 <= len(frames) <= (int(steps) + 1) // 2  # equal frames are merged
    assert len(returns(output)) == 1 and returns(output)[0] > 5
    assert load_policy(tmp_path / "here" / "cartpole.safetensors").ac_space == gym.spaces.Discrete(2)


def test_custom_environment(example, tmp_path):
    output = example("custom_environment", "--timesteps", 2048)
    before, after = returns(output)
    assert before < 0 and after < 0  # a reward is minus a distance
    assert load_policy(tmp_path / "here" / "reach.safetensors").ob_space.shape == (4,)


def test_action_masks(example, tmp_path):
    output = example("action_masks", "--timesteps", 2048)
    assert returns(output)[0] <= -1
    rows, columns = np.divmod([int(x) for x in re.search("cells: (.*)", output)[1].split()], 6)
    assert (abs(np.diff(rows)) + abs(np.diff(columns)) == 1).all()  # each step is valid
    assert list(load_policy(tmp_path / "here" / "walk.safetensors").ob_space.spaces) == ["action_mask", "observation"]


def test_memory(example, tmp_path):
    output = example("memory", "--timesteps", 1024)
    assert len(returns(output)) == 2 and all(x > 5 for x in returns(output))
    assert "the state has 32 numbers" in output
    assert load_policy(tmp_path / "here" / "memory.safetensors").state_size == 32


def test_mixed_spaces(example, tmp_path):
    output = example("mixed_spaces", "--timesteps", 2048)
    assert returns(output)[0] <= 0  # a reward is minus a distance
    assert re.search(r"action: {'length': array\(\[.*\], dtype=float32\), 'right': np.int64\([01]\)}", output)
    pi = load_policy(tmp_path / "here" / "reach.safetensors")
    assert sorted(pi.images) == ["map"] and sorted(pi.ac_space.spaces) == ["length", "right"]


@pytest.mark.filterwarnings("ignore:.*Overriding environment")
def test_the_custom_environment_has_the_reward_and_the_end_that_it_describes():
    env = runpy.run_path(str(ROOT / "examples" / "custom_environment.py"))["Reach"]()
    ob, _ = env.reset(seed=0)
    env.point, env.target = np.array([0.0, 0.5]), np.array([0.2, 0.5])
    ob, reward, terminated, truncated, _ = env.step(np.array([1.0, 0.0]))
    assert ob.tolist() == pytest.approx([0.1, 0.5, 0.2, 0.5]) and reward == pytest.approx(-0.1)
    assert not terminated and not truncated
    assert env.step(np.array([1.0, 0.0]))[2]


def test_the_command_line_finds_the_custom_environment(cli_here, tmp_path, monkeypatch):
    text = (ROOT / "examples" / "custom_environment.py").read_text()
    env_id = re.search(r"`python run.py --env (\S+)`", text)[1]
    monkeypatch.chdir(ROOT)
    done = cli_here("--env", env_id, "--print-config", "--run-dir", tmp_path / "run")
    assert done.returncode == 0 and json.loads(done.stdout)["settings"]["env"] == env_id


def test_custom_network(example, tmp_path):
    output = example("custom_network", "--timesteps", 2048)
    # 4 inputs, 64 units twice, 2 logits and 1 value
    assert f"{4 * 64 + 64 * 64 + 64 * 2 + 64:,} weights" in output and len(returns(output)) == 1
    network = runpy.run_path(str(ROOT / "examples" / "custom_network.py"))["ResidualPolicy"]
    assert network.load(tmp_path / "here" / "residual.safetensors").width == 64


def test_new_objective(example, tmp_path):
    output = example("new_objective", "--timesteps", 512, "--seeds", 2)
    scores = json.loads((tmp_path / "here" / "scores.json").read_text())
    assert scores.keys() == {"clip", "simple"} and all(len(x) == 2 for x in scores.values())
    for name, x in scores.items():
        assert f"{name:7} mean {np.mean(x):.1f}, 95 % interval [" in output
    assert re.search(r"(clip - simple|simple - clip): \d+\.\d, 95 % interval ", output)


def test_the_new_objective_is_largest_at_the_edge_of_the_clip_range():
    simple = runpy.run_path(str(ROOT / "examples" / "new_objective.py"))["simple"]
    ratios = np.linspace(0.5, 1.5, 101).astype(np.float32)
    c = SimpleNamespace(clip_param=0.2)
    for advantage, edge in ((2.0, 1.2), (-3.0, 0.8)):
        values = simple(ratios, np.full(101, advantage, np.float32), None, c).numpy()
        assert ratios[values.argmax()] == pytest.approx(edge)
    assert simple(np.float32([1]), np.float32([5]), None, c).numpy() == [5]


def test_metrics_tracker(example, tmp_path):
    output = example("metrics_tracker", "--timesteps", 4096)
    rows = [json.loads(line) for line in (tmp_path / "here" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [row["TimestepsSoFar"] for row in rows] == [2048, 4096]
    assert {"EpRewMean", "loss_kl"} <= rows[0].keys() and "2 rows with step, " in output


def test_demonstrations(example, tmp_path):
    output = example("demonstrations", "--timesteps", 2048)
    assert "3,000 steps, mean return 500.0, in here/cartpole.npz" in output and len(returns(output)) == 2
    starts = [float(x) for x in re.findall(r"demonstrations: mean return ([\d.]+) in the first iteration", output)]
    assert starts[0] < 40 and starts[1] > 150
    with np.load(tmp_path / "here" / "cartpole.npz") as file:
        assert file["observations"].shape == (3000, 4)


def test_resume(example):
    output = example("resume", "--timesteps", 12288)
    assert "ended with status -9 after the first checkpoint" in output
    assert "the weights of both runs are bit-identical" in output and len(returns(output)) == 1


def test_eight_ranks(example, tmp_path):
    output = example("eight_ranks", "--ranks", 2, "--timesteps", 2048, "--env", "CartPole-v1")
    assert "-n 2 " in output and len(returns(output)) == 1
    (run,) = (tmp_path / "here").iterdir()
    assert json.loads((run / "config.json").read_text())["ranks"] == 2
    assert {path.name.split(".")[0] for path in run.glob("*.monitor.csv")} == {"0", "1"}


def test_eight_ranks_without_mpirun_is_an_error_in_one_line(monkeypatch):
    main = runpy.run_path(str(ROOT / "examples" / "eight_ranks.py"))["main"]
    monkeypatch.setattr(shutil, "which", lambda *args, **kwargs: None)
    with pytest.raises(SystemExit, match="^no mpirun found: .*$"):
        main([])


def test_export_and_serve(example, tmp_path):
    output = example("export_and_serve", "--timesteps", 2048)
    assert "they are equal to those of predict()" in output
    actions = np.load(tmp_path / "here" / "actions.npy")
    assert actions.shape == (16,) and set(actions) <= {0, 1}
    assert (tmp_path / "here" / "cartpole" / "1" / "saved_model.pb").is_file()


def baselines_as_adapter(monkeypatch):
    """Make `baselines` importable: its names, implemented by this package. The seed is the one of the ported script."""
    trained = []

    def learn(env, policy_fn, **settings):
        trained.append(pposgd_simple.learn(env, policy_fn, seed=0, **settings))

    tf_util = SimpleNamespace(
        make_session=lambda num_cpu: contextlib.nullcontext(), save_state=lambda path: trained[-1].save(path)
    )
    contents = {
        "baselines": {},
        "baselines.common": {"tf_util": tf_util},
        "baselines.common.cmd_util": {
            "make_mujoco_env": lambda env_id, seed: gym.make(env_id.replace("-v2", "-v4")),
        },
        "baselines.ppo1": {"mlp_policy": mlp_policy, "pposgd_simple": SimpleNamespace(learn=learn)},
    }
    for name, values in contents.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)


def test_the_ported_script_trains_as_the_script_before(example, tmp_path, monkeypatch):
    output = example("baselines/after", "--timesteps", 4096)
    assert "2,048 steps: mean return" in output and len(returns(output)) == 1
    after = load_policy(tmp_path / "here" / "model").state()
    (tmp_path / "here" / "model").unlink()
    baselines_as_adapter(monkeypatch)
    assert "2,048 steps: mean return" in example("baselines/before", "--timesteps", 4096)
    before = load_policy(tmp_path / "here" / "model").state()
    assert all(np.array_equal(value, after[name]) for name, value in before.items())
