"""Messages of `learn` speak of its arguments, those of the command line of its flags."""

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

FLAGS = re.compile(r"(?<![\w-])--[a-z]|run\.py|baselines-ppo")
SHORT = {"timesteps_per_actorbatch": 32, "optim_batchsize": 16, "optim_epochs": 1, "max_iters": 1, "seed": 0}
IMAGES = gym.spaces.Box(0, 255, (20, 20, 3), np.uint8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a policy with 8 units."""
    path = tmp_path_factory.mktemp("trained") / "policy.safetensors"
    space = gym.spaces.Box(-1, 1, (1,))
    MlpPolicy("pi", Faulty.observation_space, space, hid_size=8).save(path)
    CnnPolicy("pi", gym.spaces.Box(0, 255, (40, 40, 3), np.uint8), space, kind="small").save(
        path.with_name("pixels.safetensors")
    )
    return path.parent


def held(tmp_path):
    """A folder that a run has, and that run's hold of it."""
    folder = RunDirectory(tmp_path / "held")
    folder.acquire()
    return {"run_dir": folder.path, "held": folder}


def in_a_folder(name, text, tmp_path):
    """A folder with a file."""
    path = tmp_path / name.replace("/", "-") / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path.parents[name.count("/")]


# what is asked of learn -> (options; what it says; what the command line says in its place)
ASKED = {
    "a folder with a run": (
        lambda path, _: {"run_dir": in_a_folder("config.json", "{}", path)},
        "choose another run_dir",
        "or choose another --run-dir",
    ),
    "a folder with rows": (
        lambda path, _: {"run_dir": in_a_folder("progress.csv", "a\n", path)},
        "choose another run_dir",
        "choose another --run-dir",
    ),
    "a folder in use": (
        lambda path, _: held(path),
        "another running process; choose another run_dir",
        "another running process; choose another --run-dir",
    ),
    "a file": (
        lambda path, _: {"run_dir": in_a_folder("x", "", path) / "x"},
        "choose another run_dir",
        "choose another --run-dir",
    ),
    "another network": (
        lambda _, trained: {"load_path": trained / "policy.safetensors"},
        "this run one of hid_size=4; give hid_size=8 to the policy",
        None,
    ),
    "another class": (
        lambda _, trained: {"load_path": trained / "pixels.safetensors"},
        "has one of class MlpPolicy; use CnnPolicy",
        "use --policy cnn",
    ),
    "no policy": (lambda path, _: {"load_path": path}, "no policy there", None),
    "a schedule": (
        lambda *_: {"schedule": "linear", "max_iters": 0, "max_seconds": 1},
        "set max_timesteps or max_iters",
        "set --num-timesteps or --max-iters",
    ),
    "no images": (lambda *_: {"policy_fn": CnnPolicy}, "use MlpPolicy", "use --policy mlp"),
}


@pytest.mark.parametrize("asked", ASKED)
def test_what_learn_refuses_is_said_by_its_arguments_and_by_flags_on_the_command_line(
    asked, tmp_path, trained, uncompiled_here
):
    options, here, there = ASKED[asked]
    found = {"policy_fn": lambda *args: uncompiled(*args, hid_size=4)} | SHORT | options(tmp_path, trained)
    hold = found.pop("held", None)
    with pytest.raises(UserError) as caught:
        learn(Faulty(), found.pop("policy_fn"), **found)
    assert here in str(caught.value) and not FLAGS.search(str(caught.value))
    if hold is not None:
        hold.release()
    if there is not None:
        assert there in format_error(caught.value) and here not in format_error(caught.value)


def test_small_images_lead_to_the_other_policy():
    with pytest.raises(UserError, match="or use MlpPolicy$"):
        CnnPolicy("pi", IMAGES, gym.spaces.Discrete(2))


@pytest.mark.parametrize("fault", ["raises_in_step", "raises_in_reset", "ob_nan", "rew_inf", "ob_text"])
def test_a_fault_of_an_environment_says_how_learn_goes_on(fault, uncompiled_here):
    with pytest.raises(EnvError) as caught:
        learn(Faulty(fault, at=5), uncompiled, **SHORT)
    assert not FLAGS.search(str(caught.value))
    if hints.RESUME_HINT in str(caught.value):
        assert format_error(caught.value).endswith("resume with --resume")


def test_rewards_that_are_too_large_are_scaled_by_learns_own_means():
    why, fix = explain_nonfinite({"ret": np.float32([np.inf])}, 1.0)
    assert (
        "scale_returns=True" in fix
        and not FLAGS.search(fix)
        and "--reward-scale X" in format_error(NonFiniteError(f"x, {why}", fix))
    )


def test_a_stall_is_told_in_the_words_of_whoever_started_the_watch():
    comm = Communicator(None)
    for phase in ("start", "collect"):
        hint = recovery_hint([{"phase": phase}])
        assert not FLAGS.search(Watchdog(comm, Heartbeat(comm)).translate(hint))
        assert "--stall-timeout" in Watchdog(comm, Heartbeat(comm), translate=hints.in_flags).translate(hint)


def test_every_advice_has_its_words_for_the_command_line():
    words = {value for name, value in vars(hints).items() if name.isupper() and isinstance(value, str)}
    assert words == hints.IN_FLAGS.keys()
    for here, there in hints.IN_FLAGS.items():
        assert not FLAGS.search(here) and FLAGS.search(there) and hints.in_flags(f"x; {here}, y") == f"x; {there}, y"


def test_nothing_below_the_command_line_speaks_of_its_flags():
    for path in sorted((ROOT / "common").rglob("*.py")):
        if path.name in ("hints.py", "results.py"):  # its words; and those of plot's files
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
        assert not [text for text in texts if FLAGS.search(text)], path
