"""Environment ids: suggestions for an unknown id, and error messages for modules and environments of users."""

import re
import sys

import gymnasium as gym
import pytest

from common.envs.env_ids import find_spec, suggestions
from common.envs.factory import make_env
from common.errors import UserError

SHOP = """
import gymnasium as gym, numpy as np
class Shop(gym.Env):
    observation_space, action_space = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(2)
    def __init__(self, how="", render_mode=None):
        if how == "raises": int([])
        if how == "in numpy": np.zeros(3).reshape(7)
        if how == "missing package": import no_such_simulator
        if how == "exits": raise SystemExit(3)
for name, entry_point in (("Shop", Shop), ("Text", "shop:Shop"), ("Typo", "shop.envs:Shop"), ("Nothing", "shop:Shoop")):
    gym.register(f"{name}-v0", entry_point=entry_point)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that writes its argument to shop.py in the current directory, which is not on sys.path.

    The environments that it registers are removed after the test.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != ""])
    before = dict(gym.registry)
    yield (tmp_path / "shop.py").write_text
    sys.modules.pop("shop", None)
    gym.registry.clear()
    gym.registry.update(before)


def error_message(function, *args, **kwargs):
    """Call a function that must raise a UserError of one line, and return the message."""
    with pytest.raises(UserError) as caught:
        function(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "env_id, expected",
    [
        *(
            (env_id, ["PongNoFrameskip-v4", "ALE/Pong-v5"])
            for env_id in ("Pong-v4", "Pong-v5", "ALE/Pong", "Pong-ram-v4", "PongNoFrameskip-v9")
        ),
        ("BreakoutDeterministic-v4", ["BreakoutNoFrameskip-v4", "ALE/Breakout-v5"]),
        ("Hopper-v3", ["Hopper-v5", "Hopper-v4"]),
        ("Hopper", ["Hopper-v5", "Hopper-v4"]),
        ("hopper-v4", ["Hopper-v4", "Hopper-v5"]),
        ("HalfCheetah-v1", ["HalfCheetah-v5", "HalfCheetah-v4"]),
        ("CartPole-v2", ["CartPole-v1", "CartPole-v0"]),
        ("CartPole-V1", ["CartPole-v1"]),
        ("Lunarlander-v2", ["LunarLander-v3"]),
        ("LunarLander-v2", ["LunarLander-v3"]),
        ("Hoper-v4", ["Hopper-v4"]),
    ],
)
def test_unknown_id_gets_suggestions(env_id, expected):
    message = error_message(find_spec, env_id)
    names = re.search(r"did you mean (.+)\?", message)[1].split(", ")
    assert names[: len(expected)] == expected and env_id not in names and f"'{env_id}'" in message
    for name in names if "ALE" in message else []:  # the others were created before they were suggested
        gym.make(name).close()


def test_no_suggestion_for_a_name_unlike_all_others():
    assert suggestions("zzzzqqqq") == [] and "pprint_registry" in error_message(find_spec, "zzzzqqqq")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("import no_such_simulator", "its module shop needs no_such_simulator, which is not installed ({file}:1)"),
        ("import os.no_such_part", "its module shop needs os.no_such_part, which is not installed ({file}:1)"),
        ("\nNone.x", "its module shop raised AttributeError at {file}:2: 'NoneType' object has no attribute 'x'"),
        ("int('x')", "its module shop raised ValueError at {file}:1: invalid literal for int() with base 10: 'x'"),
        ("1/0", "its module shop raised ZeroDivisionError at {file}:1: division by zero"),
        ("def f(:", "its module shop raised SyntaxError at {file}:1: invalid syntax"),
        ("import sys\nsys.exit(4)", "its module shop raised SystemExit at {file}:2: 4"),
        ("import numpy\nnumpy.zeros(3).reshape(7)", "its module shop raised ValueError at {file}:2: cannot reshape"),
        ("from gymnasium import Envv", "its module shop raised ImportError at {file}:1: cannot import name 'Envv'"),
        ("import gymnasium\ngymnasium.make('Nope-v0')", "its module shop raised NameNotFound at {file}:2: "),
    ],
)
def test_error_in_a_users_module_is_reported_with_its_line(text, expected, module, tmp_path):
    module(text)
    assert error_message(find_spec, "shop:Shop-v0").startswith(
        f"environment 'shop:Shop-v0': {expected.format(file=tmp_path / 'shop.py')}"
    )


@pytest.mark.parametrize(
    "env_id, expected",
    [
        ("no_shop:Shop-v0", "there is no module no_shop; check its name, or add its directory to PYTHONPATH"),
        ("shop.envs:Shop-v0", "there is no module shop.envs"),
        ("shop.py:Shop-v0", "there is no module shop.py; give shop"),
        ("..shop:Shop-v0", "'..shop' is not a module name"),
        (":Shop-v0", "'' is not a module name"),
        ("shop:Shop-v1", "module shop does not register Shop-v1; it registers Nothing-v0, Shop-v0, Text-v0, Typo-v0"),
        ("shop:Shop", "module shop does not register Shop; it registers Nothing-v0, Shop-v0"),
        ("json:Shop-v0", "module json does not register Shop-v0; it registers no environment"),
    ],
)
def test_missing_module_and_unregistered_name_are_reported(env_id, expected, module):
    module(SHOP)
    for _ in range(2):  # already imported the second time
        assert error_message(find_spec, env_id).startswith(f"unknown environment '{env_id}': {expected}")


def test_environment_of_a_module_in_the_current_directory_is_made(module):
    module(SHOP)
    assert make_env("shop:Text-v0").observation_space.shape == (2,)


@pytest.mark.parametrize(
    "env_id, how, expected",
    [
        (
            "Shop-v0",
            "raises",
            "it raised TypeError at {file}:6: int() argument must be a string, a bytes-like object or a real number, not 'list'",
        ),
        ("Text-v0", "in numpy", "it raised ValueError at {file}:7: cannot reshape array of size 3 into shape (7,)"),
        ("Shop-v0", "missing package", "it needs no_such_simulator, which is not installed ({file}:8)"),
        ("Shop-v0", "exits", "it raised SystemExit at {file}:9: 3"),
        ("Typo-v0", "", "the module of its entry point shop.envs:Shop does not exist: no shop.envs"),
        ("Nothing-v0", "", "module 'shop' has no attribute 'Shoop'"),
    ],
)
def test_error_in_a_users_constructor_is_reported_with_its_line(env_id, how, expected, module, tmp_path):
    module(SHOP)
    args = {"how": how} if how else {}
    message = f"cannot make shop:{env_id} with {args or 'no arguments'}: {expected.format(file=tmp_path / 'shop.py')}"
    assert error_message(make_env, f"shop:{env_id}", env_kwargs=args) == message


def test_unexpected_arguments_are_not_reported_as_an_error_in_the_constructor(module):
    module(SHOP)
    assert "Shop.__init__() got an unexpected keyword argument 'rank'" in (
        message := error_message(make_env, "shop:Shop-v0", env_kwargs={"rank": 3})
    )
    assert "raised" not in message.partition("was raised")[0]


def test_package_missing_for_an_environment_of_gymnasium_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    assert "it needs mujoco, which is not installed" in error_message(make_env, "Hopper-v4") or "mujoco" in sys.modules
