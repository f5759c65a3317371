"""The command line: flags made from the settings, read into plain data. Imports no TensorFlow, Gymnasium or MPI; `--help` answers at once."""

import argparse
import contextlib
import difflib
import json
import sys
from dataclasses import dataclass, fields
from types import UnionType
from typing import get_args

from baselines_ppo import __version__
from baselines_ppo.cli.completion import add_to
from baselines_ppo.config.presets import PRESETS
from baselines_ppo.config.settings import ALGORITHMS, setting
from common.errors import UserError
from common.formatting import safe_repr
from common.hints import in_flags
from common.storage.paths import user_path

ALIASES = {
    "--network": "--policy",
    "--num-env": "--num-envs",
    "--log-path": "--run-dir",
    "--save-path": "--save-policy",
}

USAGE = """
  %(prog)s --env ID [--SETTING VALUE] ...                    train
  %(prog)s --run-dir DIR --resume [--SETTING VALUE] ...      go on with a run
  %(prog)s --play --load-path RUN [--deterministic] [--eval-episodes N] [--video FILE] [--json]"""


def count(text):
    """An int of up to 63 bits, also as 1e6."""
    try:
        value = int(text)
    except ValueError:
        value = float(text)
    if value != int(value) or abs(value) >= 2**63:
        raise ValueError(text)
    return int(value)


def json_object(text):
    """A JSON object."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(text)
    return value


def a_path(text):
    """A `Path`, in which `~` is home."""
    try:
        return user_path(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("path=")) from error


def boolean(text):
    """true or false."""
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]


@dataclass(frozen=True)
class RunSettings:
    """What to run, where and how long."""

    env: str | None = setting(None, "Gymnasium id of the environment, such as Hopper-v4")
    preset: str | None = setting(
        None, "set of settings; default: by algorithm and kind of environment", choices=tuple(PRESETS)
    )
    policy: str | None = setting(None, "network; default: cnn for images, else mlp", choices=("mlp", "cnn"))
    alg: str | None = setting(
        None, "algorithm; default: the preset's, or ppo. vpg: REINFORCE and A2C", choices=tuple(ALGORITHMS)
    )
    num_timesteps: int | None = setting(None, "environment steps over all ranks; default: the preset's")
    max_episodes: int = setting(0, "stop after this many episodes instead")
    max_iters: int = setting(0, "stop after this many iterations instead")
    max_seconds: float = setting(0, "stop after this many seconds instead")
    seed: int = setting(0, "seed of everything random")
    load_path: str | None = setting(
        None,
        "start from the policy of a run folder (of several its newest), a checkpoint, a policy folder or file: from its "
        "weights and observation filter; with --play: run it",
    )
    num_envs: int | None = setting(None, "environments per rank; default: the preset's, shared out over the ranks")
    env_workers: int | None = setting(
        None, "processes that step a rank's environments; default: its cores for Atari, else 0, the rank itself"
    )
    env_threads: int | None = setting(
        None, "threads that step a rank's environments; default: its cores for MuJoCo, else 1"
    )
    stagger: bool = setting(
        False,
        "where there is a time limit, end the first episodes early, those of a run and after each checkpoint, each at another "
        "step, so that environments that began together are not at the same step of their episodes for ever",
    )
    batch: str | None = setting(
        None,
        "are batch and minibatch counts totals over ranks, or per rank? default: total; ppo1, paper: per-rank",
        choices=("total", "per-rank"),
    )
    averaging: str = setting("auto", "how gradients are averaged over ranks", choices=("auto", "gather", "average"))
    env_kwargs: dict | None = setting(None, "arguments for gymnasium.make, a JSON object")
    reward_scale: float = setting(1.0, "multiply the learner's rewards by this; logs keep the environment's own")
    checkpoint_every: int = setting(25, "iterations between checkpoints; at each, all episodes are cut")
    keep_checkpoints: int = setting(3, "checkpoints that are kept, the newest")
    run_dir: str | None = setting(
        None, "folder of the run; default: <env>/<time>-seed<seed> in runs, or in $BASELINES_PPO_RUNS"
    )
    log_interval: float = setting(10.0, "seconds between lines of progress, where there is no terminal")
    quiet: bool = setting(False, "show nothing but errors")
    stall_timeout: float = setting(
        1800.0, "seconds without progress on a rank, after which the job ends and says where it stood; 0: never"
    )
    save_policy: str | None = setting(None, "write the final policy to this file, too")
    eval_every: int = setting(
        0, "iterations between evaluations of the deterministic policy; the best is kept; 0: none"
    )
    eval_episodes: int = setting(10, "episodes of an evaluation, and of --play")
    histograms: bool = setting(False, "TensorBoard histograms of weights, actions and advantages, at every checkpoint")
    report: bool = setting(True, "draw curve.png and report.html at the end")
    film: bool = setting(False, "film an episode of the final policy for the report and TensorBoard")


# --help, by concern; what is in none of them is the algorithm's
GROUPS = {
    "what to run": ("env", "preset", "alg", "policy", "seed", "load_path", "env_kwargs", "reward_scale"),
    "how long; one of them": ("num_timesteps", "max_episodes", "max_iters", "max_seconds"),
    "ranks, environments, batches": (
        "num_envs",
        "env_workers",
        "env_threads",
        "stagger",
        "batch",
        "averaging",
        "timesteps_per_actorbatch",
        "optim_batchsize",
        "optim_epochs",
    ),
    "what is written and shown": (
        "run_dir",
        "checkpoint_every",
        "keep_checkpoints",
        "save_policy",
        "log_interval",
        "quiet",
        "eval_every",
        "eval_episodes",
        "histograms",
        "report",
        "film",
        "stall_timeout",
    ),
    "objective": (
        "objective",
        "clip_param",
        "clip_schedule",
        "beta",
        "kl_target",
        "kl_min",
        "kl_max",
        "target_kl",
        "entcoeff",
    ),
    "returns, advantages, values": (
        "gamma",
        "lam",
        "bootstrap_time_limits",
        "scale_returns",
        "standardise_adv",
        "recompute_adv",
        "vf_coef",
        "vf_clip",
    ),
    "step": ("optim_stepsize", "vf_stepsize", "schedule", "adam_epsilon", "max_grad_norm"),
    "TRPO and policy gradient": (
        "timesteps_per_batch",
        "max_kl",
        "cg_iters",
        "cg_damping",
        "cg_stride",
        "vf_iters",
        "vf_batchsize",
        "whole_episodes",
        "baseline",
        "reward_to_go",
    ),
}
PATHS = ("run_dir", "load_path", "save_policy")  # settings that are paths
POLICY_SETTINGS = {
    "hid_size": (count, "width of MlpPolicy's hidden layers"),
    "num_hid_layers": (count, "number of MlpPolicy's hidden layers"),
    "vf_hid_size": (int | None, "MlpPolicy: width of the value's hidden layers; none: hid-size"),
    "gaussian_fixed_var": (boolean, "MlpPolicy: one log std for all observations"),
    "shared_trunk": (boolean, "MlpPolicy: the value reads the policy's last hidden layer"),
    "normalise_ob": (boolean, "MlpPolicy: normalise observations by their running mean and deviation"),
    "ob_clip": (float, "MlpPolicy: clip normalised observations to +- this"),
    "ob_min_std": (float, "MlpPolicy: divide no observation by less"),
    "kind": (str, "CnnPolicy: large (Nature's) or small (A3C's)"),
    "channels": (
        str,
        "CnnPolicy: the axis of an image that has the channels: first, last, or smaller, whichever has fewer entries; default: found out where "
        "only one can be it",
    ),
    "init": (str, "initial weights: normc or orthogonal"),
    "init_logstd": (float, "where a Gaussian's log std starts"),
}
# as the policies' classes have them, which need TensorFlow to be asked
POLICY_DEFAULTS = {
    "hid_size": 64,
    "num_hid_layers": 2,
    "vf_hid_size": None,
    "gaussian_fixed_var": True,
    "shared_trunk": False,
    "normalise_ob": True,
    "ob_clip": 5.0,
    "ob_min_std": 0.1,
    "kind": "large",
    "channels": None,
    "init": "normc",
    "init_logstd": 0.0,
}


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message):
        if message.startswith("unrecognized arguments: "):
            flag = message.removeprefix("unrecognized arguments: ").split()[0]
            near = difflib.get_close_matches(flag.split("=")[0], self._option_string_actions, n=2)
            message = f"unknown argument {flag}; " + (
                f"did you mean {' or '.join(near)}?" if near else "--help lists them"
            )
        raise UserError(message)


def _converter(kind):
    if isinstance(kind, UnionType):
        inner = next(one for one in get_args(kind) if one is not type(None))
        convert = _converter(inner)
        if inner is str:  # a name may be "none"
            return convert
        return lambda text: None if text.lower() == "none" else convert(text)
    return {bool: boolean, int: count, dict: json_object}.get(kind, kind)


def _checked(convert, name, wanted):
    def parse(text):
        try:
            return convert(text)
        except (ValueError, KeyError, OverflowError, RecursionError) as error:
            raise argparse.ArgumentTypeError(f"{safe_repr(text)} is not {wanted}") from error

    parse.__name__ = name
    return parse


WANTED = {
    count: "a whole number",
    int: "a whole number",
    float: "a number",
    boolean: "true or false",
    bool: "true or false",
    dict: "a JSON object, such as '{\"healthy_reward\": 0.5}'",
    str: "text",
}


def _add(group, name, kind, doc, default, choices=None):
    inner = next((one for one in get_args(kind) if one is not type(None)), kind)
    safe_repr = f"{doc} [{default}]" if default not in (None, "") else doc
    flag = {"nargs": "?", "const": True} if inner in (bool, boolean) else {}  # "--quiet" is "--quiet true"
    parse_value = (
        (lambda text: str(a_path(text)))
        if name in PATHS
        else _checked(_converter(kind), name, WANTED.get(inner, "a value"))
    )
    group.add_argument(
        f"--{name.replace('_', '-')}",
        dest=name,
        type=parse_value,
        default=argparse.SUPPRESS,
        choices=choices,
        help=safe_repr.replace("%", "%%"),
        metavar=None if choices else inner.__name__.upper(),
        **flag,
    )


def algorithm_fields():
    """{name: {algorithm: dataclass field}} of all algorithms' settings."""
    found = {}
    for alg, cls in ALGORITHMS.items():
        for one in fields(cls):
            found.setdefault(one.name, {})[alg] = one
    return found


def format_default(name, default):
    """A setting's default, and the presets that have another."""
    others = {}
    for preset, one in PRESETS.items():
        own = {key: getattr(one, key) for key in ("num_envs", "num_timesteps", "checkpoint_every", "stagger")}
        values = own | one.learn | one.policy.get("mlp", {}) | one.policy.get("cnn", {})
        if name in values and values[name] != default:
            others.setdefault(str(values[name]), []).append(preset)
    return "; ".join(
        filter(
            None,
            (
                "" if default is None else str(default),
                *(f"{', '.join(names)}: {value}" for value, names in others.items()),
            ),
        )
    )


def build_parser():
    """The parser; settings have no default, so that what was typed can be told from what was not."""
    parser = Parser(
        prog="run.py",
        usage=USAGE,
        allow_abbrev=False,
        description="Train a policy by PPO, TRPO or policy gradient, or watch one that was trained.",
        epilog="presets: "
        + "; ".join(f"{name}: {preset.doc}" for name, preset in PRESETS.items())
        + ". In brackets: the default, and the presets that have another.",
    )
    algorithms = algorithm_fields()
    run = {one.name: one for one in fields(RunSettings)}
    for title, names in GROUPS.items():
        group = parser.add_argument_group(title)
        for name in names:
            if name in run:
                one = run[name]
                default = one.default
            else:
                defaults = {alg: one.default for alg, one in algorithms[name].items()}
                one = next(iter(algorithms[name].values()))
                default = (
                    one.default
                    if len(set(defaults.values())) == 1
                    else ", ".join(f"{alg}: {value}" for alg, value in defaults.items())
                )
            _add(group, name, one.type, one.metadata["doc"], format_default(name, default), one.metadata["choices"])
    group = parser.add_argument_group("policy")
    for name, (kind, doc) in POLICY_SETTINGS.items():
        _add(group, name, kind, doc, format_default(name, None))
    group = parser.add_argument_group("go on, or watch")
    group.add_argument(
        "--resume",
        nargs="?",
        const="latest",
        choices=("latest", "exact", "auto"),
        help="with --run-dir: go on from its last checkpoint; exact: from the last scheduled one, to the bit; auto: start the run if "
        "there is none, so that one line in a job script is enough",
    )
    group.add_argument("--play", action="store_true", help="run the policy at --load-path instead of training")
    group.add_argument(
        "--deterministic", action="store_true", help="with --play: take the most likely action instead of sampling"
    )
    group.add_argument(
        "--video",
        type=a_path,
        help="with --play: film the first episode into this .gif file; default, without a display: play.gif in the run folder",
    )
    group.add_argument("--json", action="store_true", help="with --play: print one JSON object")
    group = parser.add_argument_group("the command line itself")
    group.add_argument(
        "--config",
        metavar="FILE",
        type=a_path,
        help="settings of another run, its config.json, or any JSON object of names as above; what is typed wins",
    )
    group.add_argument("--print-config", action="store_true", help="print what the settings come to, as JSON, and end")
    group.add_argument("--version", action="version", version=f"baselines_ppo {__version__}")
    add_to(group, parser)
    return parser


def setting_names():
    """Names of all settings: of the run, of every algorithm, of the policies."""
    return {one.name for one in fields(RunSettings)} | algorithm_fields().keys() | POLICY_SETTINGS.keys()


def normalised(argv):
    """The words with hyphens for underscores in flags, and our names for Baselines'."""
    words = []
    for word in argv:
        if word.startswith("--"):
            flag, *value = word.split("=", 1)
            flag = flag.replace("_", "-")
            word = "=".join([ALIASES.get(flag, flag), *value])
        words.append(word)
    return words


def parse(argv):
    """(what was typed, by name; the parser's namespace).

    Raises:
        UserError: one line on what is wrong.
    """
    args = build_parser().parse_args(normalised(argv))
    typed = {name: value for name, value in vars(args).items() if name in setting_names()}
    args.load_path = typed.get("load_path")
    if args.video and not (args.play or args.load_path):
        raise UserError(
            "--video films a trained policy: give its --load-path; to film one at the end of a training, give --film"
        )
    if not (args.play or args.video) and (
        flag := next((name for name in ("deterministic", "json") if getattr(args, name)), None)
    ):
        raise UserError(f"--{flag} is for --play; add --play --load-path RUN, or leave it out")
    return typed, args


def format_error(error, program="run.py"):
    """An error in one line, in the words of the command line."""
    return f"{program}: error: {in_flags(' '.join(str(error).split()))}"


def print_error(error, program="run.py"):
    """Print an error in one line, for exit status 2."""
    with contextlib.suppress(OSError):  # the exit status still tells it where a full disk keeps what is said
        print(format_error(error, program), file=sys.stderr, flush=True)
