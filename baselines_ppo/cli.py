"""The command line: flags made from the settings, read into plain data. Imports no TensorFlow, Gymnasium or MPI; `--help` answers at once."""
import argparse
import difflib
import json
import sys
from dataclasses import dataclass, fields
from types import UnionType
from typing import get_args

from baselines_ppo.presets import PRESETS
from baselines_ppo.settings import ALGORITHMS, setting
from common.errors import UserError

ALIASES = {"--network": "--policy", "--num-env": "--num-envs", "--log-path": "--run-dir", "--save-path": "--save-policy",
           "--nsteps": "--timesteps-per-actorbatch"}


def count(text):
    """An int, also as 1e6."""
    value = float(text)
    if value != int(value):
        raise ValueError(text)
    return int(value)


def json_object(text):
    """A JSON object."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(text)
    return value


def boolean(text):
    """true or false."""
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]


@dataclass(frozen=True)
class RunSettings:
    """What to run, where and how long."""

    env: str | None = setting(None, "Gymnasium id of the environment, such as Hopper-v4")
    preset: str | None = setting(None, "set of settings; default: by algorithm and kind of environment", choices=tuple(PRESETS))
    policy: str | None = setting(None, "network; default: cnn for images, else mlp", choices=("mlp", "cnn"))
    alg: str | None = setting(None, "algorithm; default: the preset's, or ppo. vpg: REINFORCE and A2C", choices=tuple(ALGORITHMS))
    num_timesteps: int | None = setting(None, "environment steps over all ranks; default: the preset's")
    max_episodes: int = setting(0, "stop after this many episodes instead")
    max_iters: int = setting(0, "stop after this many iterations instead")
    max_seconds: float = setting(0, "stop after this many seconds instead")
    seed: int = setting(0, "seed of everything random")
    num_envs: int | None = setting(None, "environments per rank; default: the preset's, shared out over the ranks")
    env_workers: int | None = setting(None, "processes that step a rank's environments; default: its cores for Atari, else 0, the rank itself")
    env_threads: int | None = setting(None, "threads that step a rank's environments; default: its cores for MuJoCo, else 1")
    batch: str | None = setting(None, "are batch and minibatch counts totals over ranks, or per rank? default: total; ppo1, paper: per-rank",
                               choices=("total", "per-rank"))
    averaging: str = setting("auto", "how gradients are averaged over ranks", choices=("auto", "gather", "average"))
    env_kwargs: dict | None = setting(None, "arguments for gymnasium.make, a JSON object")
    reward_scale: float = setting(1.0, "multiply the learner's rewards by this; logs keep the environment's own")
    checkpoint_every: int = setting(25, "iterations between checkpoints; at each, all episodes are cut")
    run_dir: str | None = setting(None, "folder of the run; default: runs/<env>/<time>-seed<seed>")
    log_interval: float = setting(10.0, "seconds between lines of progress, where there is no terminal")
    save_policy: str | None = setting(None, "write the final policy to this file, too")


POLICY_SETTINGS = {
    "hid_size": (count, "width of MlpPolicy's hidden layers"), "num_hid_layers": (count, "number of MlpPolicy's hidden layers"),
    "gaussian_fixed_var": (boolean, "MlpPolicy: one log std for all observations"),
    "shared_trunk": (boolean, "MlpPolicy: the value reads the policy's last hidden layer"),
    "normalise_ob": (boolean, "MlpPolicy: normalise observations by their running mean and deviation"),
    "ob_clip": (float, "MlpPolicy: clip normalised observations to +- this"), "ob_min_std": (float, "MlpPolicy: divide no observation by less"),
    "kind": (str, "CnnPolicy: large (Nature's) or small (A3C's)"), "init": (str, "initial weights: normc or orthogonal"),
    "init_logstd": (float, "where a Gaussian's log std starts"),
}


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message):
        if message.startswith("unrecognized arguments: "):
            flag = message.removeprefix("unrecognized arguments: ").split()[0]
            near = difflib.get_close_matches(flag.split("=")[0], self._option_string_actions, n=2)
            message = f"unknown argument {flag}; " + (f"did you mean {' or '.join(near)}?" if near else "--help lists them")
        raise UserError(message)


def _converter(kind):
    if isinstance(kind, UnionType):
        inner = next(one for one in get_args(kind) if one is not type(None))
        convert = _converter(inner)
        return lambda text: None if text.lower() == "none" else convert(text)
    return {bool: boolean, int: count, dict: json_object}.get(kind, kind)


def _checked(convert, name, wanted):
    def parse(text):
        try:
            return convert(text)
        except (ValueError, KeyError, OverflowError) as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from error
    parse.__name__ = name
    return parse


WANTED = {count: "a whole number", int: "a whole number", float: "a number", boolean: "true or false", bool: "true or false",
          dict: "a JSON object, such as '{\"healthy_reward\": 0.5}'", str: "text"}


def _add(group, name, kind, doc, default, choices=None):
    inner = next((one for one in get_args(kind) if one is not type(None)), kind)
    shown = f"{doc} [{default}]" if default not in (None, "") else doc
    group.add_argument(f"--{name.replace('_', '-')}", dest=name, type=_checked(_converter(kind), name, WANTED.get(inner, "a value")),
                       choices=choices, default=None, help=shown.replace("%", "%%"), metavar=None if choices else inner.__name__.upper())


def algorithm_fields():
    """{name: {algorithm: dataclass field}} of all algorithms' settings."""
    found = {}
    for alg, cls in ALGORITHMS.items():
        for one in fields(cls):
            found.setdefault(one.name, {})[alg] = one
    return found


def build_parser():
    """The parser; every default is None, so that what was typed can be told from what was not."""
    parser = Parser(prog="run.py", allow_abbrev=False, description="Train a policy by PPO, TRPO or policy gradient, or watch one that was trained.",
                    epilog="presets: " + "; ".join(f"{name}: {preset.doc}" for name, preset in PRESETS.items()))
    group = parser.add_argument_group("run")
    for one in fields(RunSettings):
        _add(group, one.name, one.type, one.metadata["doc"], one.default, one.metadata["choices"])
    group = parser.add_argument_group("algorithm (defaults: the preset's; in brackets: learn's)")
    for name, found in algorithm_fields().items():
        defaults = {alg: one.default for alg, one in found.items()}
        same = len(set(defaults.values())) == 1 and (len(defaults) == 1 or defaults.keys() == ALGORITHMS.keys())
        default = next(iter(defaults.values())) if same else ", ".join(f"{alg}: {value}" for alg, value in defaults.items())
        one = next(iter(found.values()))
        _add(group, name, one.type, one.metadata["doc"], default, one.metadata["choices"])
    group = parser.add_argument_group("policy")
    for name, (kind, doc) in POLICY_SETTINGS.items():
        _add(group, name, kind, doc, None)
    group = parser.add_argument_group("go on, or watch")
    group.add_argument("--resume", nargs="?", const="latest", choices=("latest", "exact"),
                       help="with --run-dir: go on from its last checkpoint; exact: from the last scheduled one, to the bit")
    group.add_argument("--load-path", help="a run folder or a policy file, for --play")
    group.add_argument("--play", action="store_true", help="run the policy at --load-path instead of training")
    group.add_argument("--eval-episodes", type=_checked(count, "count", "a whole number"), default=10, help="episodes to play [10]")
    group.add_argument("--deterministic", action="store_true", help="take the most likely action instead of sampling")
    group.add_argument("--video", help="with --play: film the first episode into this .gif file")
    return parser


def parse(argv):
    """(what was typed, by name; the parser's namespace).

    Raises:
        UserError: one line on what is wrong.
    """
    words = []
    for word in argv:
        if word.startswith("--"):
            flag, *value = word.split("=", 1)
            flag = flag.replace("_", "-")
            word = "=".join([ALIASES.get(flag, flag), *value])
        words.append(word)
    args = build_parser().parse_args(words)
    names = {one.name for one in fields(RunSettings)} | algorithm_fields().keys() | POLICY_SETTINGS.keys()
    return {name: value for name, value in vars(args).items() if name in names and value is not None}, args


def complain(error):
    """Print an error in one line, for exit status 2."""
    print(f"run.py: error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
