"""Messages of `learn` name its arguments, and messages of the command line name its flags."""

import ast
import re

import gymnasium as gym
import numpy as np
import pytest
from faulty_envs import Faulty
from jobs import ROOT
from small_policies import uncompiled

from baselines_ppo import CnnPolicy, MlpPolicy, learn
from baselines_ppo.cli.errors import format_error
from common import hints
from common.diagnostics.nonfinite import explain_nonfinite
from common.distributed.communicator import Communicator
from common.distributed.heartbeat import Heartbeat
from common.distributed.watchdog import Watchdog, recovery_hint
from common.errors import EnvError, NonFiniteError, UserError
from common.runs.run_directory import RunDirectory

FLAGS = re.compile(r"(?<![\w-])--[a-z]|run\.py|baselines-ppo(?!1\.md)")
SHORT = {"timesteps_per_actorbatch": 32, "optim_batchsize": 16, "optim_epochs": 1, "max_iters": 1, "seed": 0}
IMAGES = gym.spaces.Box(0, 255, (20, 20, 3), np.uint8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The directory of an MLP with 8 units and of a CNN."""
    path = tmp_path_factory.mktemp("trained") / "policy.safetensors"
    space = gym.spaces.Box(-1, 1, (1,))
    MlpPolicy("pi", Faulty.observation_space, space, hid_size=8).save(path)
    CnnPolicy("pi", gym.spaces.Box(0, 255, (40, 40, 3), np.uint8), space, kind="small").save(
        path.with_name("pixels.safetensors")
    )
    return path.parent


def locked(tmp_path):
    """A directory that another run has locked, and that run's `RunDirectory`."""
    folder = RunDirectory(tmp_path / "held")
    folder.acquire()
    return {"run_dir": folder.path, "held": folder}


def directory_with(name, text, tmp_path):
    """A directory with one file."""
    path = tmp_path / name.replace("/", "-") / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path.parents[name.count("/")]


# invalid arguments of learn -> (arguments, hint of learn, hint of the command line)
INVALID = {
    "a folder with a run": (
        lambda path, _: {"run_dir": directory_with("config.json", "{}", path)},
        "choose another run_dir",
        "or choose another --run-dir",
    ),
    "a folder with rows": (
        lambda path, _: {"run_dir": directory_with("progress.csv", "a\n", path)},
        "choose another run_dir",
        "choose another --run-dir",
    ),
    "a folder in use": (
        lambda path, _: locked(path),
        "another running process; choose another run_dir",
        "another running process; choose another --run-dir",
    ),
    "a file": (
        lambda path, _: {"run_dir": directory_with("x", "", path) / "x"},
        "choose another run_dir",
        "choose another --run-dir",
    ),
    "another network": (
        lambda _, trained: {"load_path": trained / "policy.safetensors"},
        "this run has one with hid_size=4; give hid_size=8 to the policy",
        None,
    ),
    "another class": (
        lambda _, trained: {"load_path": trained / "pixels.safetensors"},
        "has one of class MlpPolicy; use CnnPolicy",
        "use --policy cnn",
    ),
    "no policy": (lambda path, _: {"load_path": path}, "no policy found", None),
    "a schedule": (
        lambda *_: {"schedule": "linear", "max_iters": 0, "max_seconds": 1},
        "set max_timesteps or max_iters",
        "set --num-timesteps or --max-iters",
    ),
    "no images": (lambda *_: {"policy_fn": CnnPolicy}, "use MlpPolicy", "use --policy mlp"),
}


@pytest.mark.parametrize("case", INVALID)
def test_learn_names_arguments_and_the_command_line_names_flags(case, tmp_path, trained, uncompiled_here):
    options, here, there = INVALID[case]
    found = {"policy_fn": lambda *args: uncompiled(*args, hid_size=4)} | SHORT | options(tmp_path, trained)
    hold = found.pop("held", None)
    with pytest.raises(UserError) as caught:
        learn(Faulty(), found.pop("policy_fn"), **found)
    assert here in str(caught.value) and not FLAGS.search(str(caught.value))
    if hold is not None:
        hold.release()
    if there is not None:
        assert there in format_error(caught.value) and here not in format_error(caught.value)


def test_images_too_small_for_a_cnn_suggest_the_mlp():
    with pytest.raises(UserError, match="or use MlpPolicy$"):
        CnnPolicy("pi", IMAGES, gym.spaces.Discrete(2))


@pytest.mark.parametrize("fault", ["raises_in_step", "raises_in_reset", "ob_nan", "rew_inf", "ob_text"])
def test_an_env_error_has_the_hint_of_learn(fault, uncompiled_here):
    with pytest.raises(EnvError) as caught:
        learn(Faulty(fault, at=5), uncompiled, **SHORT)
    assert not FLAGS.search(str(caught.value))
    if hints.RESUME_HINT in str(caught.value):
        assert format_error(caught.value).endswith("resume with --resume")


def test_large_rewards_have_the_hint_of_learn():
    why, fix = explain_nonfinite({"ret": np.float32([np.inf])}, 1.0)
    assert (
        "scale_returns=True" in fix
        and not FLAGS.search(fix)
        and "--reward-scale X" in format_error(NonFiniteError(f"x, {why}", fix))
    )


def test_the_watchdog_words_its_hint_for_its_caller():
    comm = Communicator(None)
    for phase in ("start", "collect"):
        hint = recovery_hint([{"phase": phase}])
        assert not FLAGS.search(Watchdog(comm, Heartbeat(comm)).translate(hint))
        assert "--stall-timeout" in Watchdog(comm, Heartbeat(comm), translate=hints.in_flags).translate(hint)


def test_every_hint_has_a_wording_for_the_command_line():
    words = {value for name, value in vars(hints).items() if name.isupper() and isinstance(value, str)}
    assert words == hints.IN_FLAGS.keys()
    for here, there in hints.IN_FLAGS.items():
        assert not FLAGS.search(here) and FLAGS.search(there) and hints.in_flags(f"x; {here}, y") == f"x; {there}, y"


def test_nothing_below_the_command_line_names_its_flags():
    for path in sorted((ROOT / "common").rglob("*.py")):
        if path.name in ("hints.py", "results.py"):  # the wordings themselves, and messages of plot
            continue
        tree = ast.parse(path.read_text())
        own = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and node.name == "recovery_hint" and path.name == "run_directory.py"
        ]
        skipped = {id(node) for function in own for node in ast.walk(function)}
        documented = [
            node.body[0].value
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and isinstance(node.body[0], ast.Expr)
        ]
        texts = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node not in documented
            and id(node) not in skipped
        ]
        # TensorFlow has flags, too
        assert not [text for text in texts if FLAGS.search(text.replace("--tf_xla_", ""))], path
