"""--help, --print-config, --version and --print-completion: fast, complete and without TensorFlow."""

import importlib
import json
import re
import subprocess
import sys

import jobs
import pytest

from baselines_ppo import __version__
from baselines_ppo.cli.command_lines import format_value
from baselines_ppo.cli.options import normalize_flags, setting_help
from baselines_ppo.cli.parser import build_parser, parse
from baselines_ppo.config.presets import PRESETS
from baselines_ppo.config.registry import SETTINGS
from baselines_ppo.config.setting_fields import GROUPS
from baselines_ppo.config.settings import ALGORITHMS


def run_python(code):
    """Run Python code in a fresh process."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=jobs.ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_needs_no_tensorflow_gymnasium_mpi_or_numpy():
    text = run_python(
        "import sys; from baselines_ppo.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'tensorflow', 'gymnasium', 'mpi4py', 'numpy', 'shtab'} & set(sys.modules); assert not heavy, heavy"
    )
    titles = [text.index(f"\n{title}:\n") for title in (*GROUPS.values(), "Resume and evaluate", "Other")]
    assert text.index("--env ID") < titles[0] and titles == sorted(titles)
    assert len(text.partition("\n\n")[0].splitlines()) == 4  # usage


def test_print_config_is_json_and_needs_no_tensorflow():
    printed = json.loads(
        run_python(
            "import sys; from baselines_ppo.__main__ import main\n"
            "status = main(['--env', 'CartPole-v1', '--clip-param', '0.1', '--print-config'])\n"
            "assert 'tensorflow' not in sys.modules and status == 0"
        )
    )
    assert printed["settings"]["clip_param"] == 0.1
    assert printed["typed"] == {"env": "CartPole-v1", "clip_param": 0.1}


@pytest.mark.parametrize("name", SETTINGS)
def test_help_shows_a_default_for_every_setting(name):
    assert "[default: " in setting_help(SETTINGS[name])


@pytest.mark.parametrize("command", ["plot", "report", "export"])
def test_help_of_the_other_commands_shows_the_default_of_every_option(command, capsys):
    main = importlib.import_module(f"baselines_ppo.{command}.command").main
    with pytest.raises(SystemExit):
        main(["--help"])
    _, *options = re.split(r"\n  (?=--)", capsys.readouterr().out)
    assert options and all("[default: " in " ".join(option.split()) for option in options)


@pytest.mark.parametrize("name", ["resume", "play", "deterministic", "video", "json", "config", "print_config"])
def test_help_shows_a_default_for_every_other_flag(name):
    assert "[default: " in build_parser().actions[name].help


@pytest.mark.parametrize(
    "name, text",
    [
        ("clip_param", "epsilon of the clipped surrogate [default: 0.2; 0.1 with preset atari]"),
        ("hid_size", "mlp, mixed: width of the hidden layers [default: 64]"),
        (
            "lam",
            "[default: 0.95 for --alg ppo, 1.0 for --alg vpg; 0.9 with preset mujoco, humanoid; 0.95 with preset trpo, a2c]",
        ),
        (
            "timesteps_per_actorbatch",
            "steps of one rollout, over all environments; total over all ranks, or for each rank with --batch per-rank",
        ),
        (
            "num_envs",
            "environments per rank [default: the preset's total, split over the ranks; 8 with preset mujoco, humanoid, "
            "atari, a2c; 4 with preset classic]",
        ),
    ],
)
def test_help_tells_defaults_of_algorithms_and_presets_apart(name, text):
    assert text in setting_help(SETTINGS[name])


@pytest.mark.parametrize("name", SETTINGS)
def test_a_bracket_of_help_has_no_word_for_an_algorithm_and_a_preset(name):
    bracket = re.search(r"\[default: (.*)\]$", setting_help(SETTINGS[name]))[1]
    assert bracket.count("trpo") <= 1


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", [name for name, one in SETTINGS.items() if set(one.defaults) & set(ALGORITHMS)])
def test_help_has_the_value_of_each_preset(name, preset):
    """Read as a user does: the value of the preset if it is named, else that of its algorithm, else the only one."""
    if PRESETS[preset].alg not in SETTINGS[name].defaults:
        return
    first, *others = re.search(r"\[default: (.*)\]$", setting_help(SETTINGS[name]))[1].split("; ")
    found = {
        one: value
        for text in others
        for value, _, presets in [text.partition(" with preset ")]
        for one in presets.split(", ")
    }
    by_alg = {alg: value for text in first.split(", ") for value, _, alg in [text.partition(" for --alg ")]}
    shown = found.get(preset, by_alg.get(PRESETS[preset].alg, first))
    value = getattr(ALGORITHMS[PRESETS[preset].alg](**PRESETS[preset].learn), name)
    assert shown == (SETTINGS[name].info.unset if value is None else format_value(value))


@pytest.mark.parametrize(
    "typed, flag",
    [
        ("--normalize-ob", "--normalise-ob"),
        ("--standardize_adv", "--standardise-adv"),
        ("--network=cnn", "--policy=cnn"),
        ("--num_env", "--num-envs"),
        ("--log-path", "--run-dir"),
        ("--save-path", "--save-policy"),
    ],
)
def test_other_spellings_of_flags_are_accepted(typed, flag):
    assert normalize_flags([typed]) == [flag]


def test_american_spelling_sets_the_setting():
    explicit, _ = parse(["--normalize-ob", "false", "--standardize-adv=false"])
    assert explicit == {"normalise_ob": False, "standardise_adv": False}


def test_the_version_is_the_packages_own(capsys):
    with pytest.raises(SystemExit) as ended:
        jobs.main_here("--version")
    assert ended.value.code == 0 and capsys.readouterr().out == f"baselines_ppo {__version__}\n"
    assert f'version="{__version__}"' in (jobs.ROOT / "setup.py").read_text()


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_scripts_have_every_flag(shell, capsys):
    with pytest.raises(SystemExit):
        jobs.main_here("--print-completion", shell)
    script = capsys.readouterr().out
    assert all(one.flag in script for one in SETTINGS.values())
