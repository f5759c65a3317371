"""The loaders that are fuzzed: reads damaged files in the same way as the commands, and detects forbidden actions.

Used by fuzz_child.py. An audit hook reports writes outside the run directory, started processes, connections and pickles.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "OPENBLAS_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

import gymnasium as gym  # noqa: E402
import numpy as np  # noqa: E402

from baselines_ppo import CnnPolicy, MlpPolicy  # noqa: E402
from baselines_ppo.algorithm_setup import AlgorithmSetup  # noqa: E402
from baselines_ppo.cli.parser import parse  # noqa: E402
from baselines_ppo.config.config_files import CONFIG_FORMAT, load_overrides  # noqa: E402
from baselines_ppo.config.resolved_config import ResolvedConfig  # noqa: E402
from baselines_ppo.config.settings import PPOSettings  # noqa: E402
from baselines_ppo.experiment.setup import assign_cores, resolve_config  # noqa: E402
from baselines_ppo.play.policy_env import env_named_in  # noqa: E402
from baselines_ppo.policy_registry import load_policy, policy_class  # noqa: E402
from baselines_ppo.pposgd_simple import PPOUpdate  # noqa: E402
from baselines_ppo.train.preflight import check_resources  # noqa: E402
from baselines_ppo.train.previous_run import load_previous_run  # noqa: E402
from baselines_ppo.train.resume import check_compatible, check_config, resumed_config  # noqa: E402
from common.distributed.communicator import Communicator  # noqa: E402
from common.envs.factory import make_env  # noqa: E402
from common.errors import UserError  # noqa: E402
from common.policies.files import read_policy  # noqa: E402
from common.runs.log_files import RunLogFiles  # noqa: E402
from common.runs.run_directory import RunDirectory  # noqa: E402
from common.training.checkpointing import save_checkpoint  # noqa: E402
from common.training.state import validate_checkpoint  # noqa: E402
from common.training.stopping import StopCriteria  # noqa: E402
from common.vec_env.factory import make_vector_env  # noqa: E402

BOX = gym.spaces.Box(-8, 8, (3,))
ARGV = [
    "--env",
    "Pendulum-v1",
    "--hid-size",
    "8",
    "--max-iters",
    "4",
    "--timesteps-per-actorbatch",
    "64",
    "--optim-batchsize",
    "32",
    "--num-envs",
    "1",
]
LOG = b"EpRewMean,TimestepsSoFar\n" + b"-1.5,64\n" * 50
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# audit events
PATH_EVENTS = (
    "os.remove",
    "os.rename",
    "os.truncate",
    "os.rmdir",
    "os.mkdir",
    "os.symlink",
    "os.link",
    "os.chmod",
    "shutil.rmtree",
)
FORBIDDEN_EVENTS = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "socket.connect",
    "pickle.find_class",
)


class ForbiddenAction(BaseException):
    """A loader wrote outside the run directory or started something."""


class Loaders:
    """The loaders, and the directory that they may change.

    Args:
        directory: of this process. Its `run` is the run directory; everything else must stay unchanged.

    Attributes:
        paths: where each undamaged file belongs.
        files: the bytes of each undamaged file.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.run = directory / "run"
        self.watching = False
        self.run_directory = RunDirectory(self.run)
        (directory / "progress.csv").write_bytes(LOG)
        (self.run / "progress.csv").write_bytes(LOG)
        env = make_vector_env("Pendulum-v1", 1, 0, self.run)
        settings = {
            "timesteps_per_actorbatch": 64,
            "optim_batchsize": 32,
            "scale_returns": True,
            "objective": "adaptive_kl",
        }
        setup = AlgorithmSetup(
            PPOSettings,
            settings,
            {"folder": self.run_directory},
            StopCriteria(max_iters=4),
            env,
            lambda name, ob_space, ac_space: MlpPolicy(name, ob_space, ac_space, hid_size=8),
            0,
            None,
        )
        self.training = setup.begin(PPOUpdate(setup))
        self.training.iters_so_far = 2
        self.training.rewbuffer.extend([-1.5, 2.0])
        self.training.lenbuffer.extend([200, 200])
        save_checkpoint(self.training)
        self.settings = resolve_config(parse(ARGV)[0], 1, 1).with_policy(setup.pi.settings()).to_dict()
        self.run_directory.write_config(
            {
                "format": CONFIG_FORMAT,
                "ranks": 1,
                "typed": parse(ARGV)[0],
                "settings": self.settings,
                "versions": {"numpy": "2"},
            }
        )
        for i, pi in enumerate(make_policies()):
            pi.save(directory / f"{i}.safetensors", env="Pendulum-v1", env_kwargs={"g": 9.8})
        (self.checkpoint,) = self.run_directory.checkpoints.paths()
        self.paths = [*sorted(directory.glob("?.safetensors")), *[self.checkpoint] * 2, *[self.run / "config.json"] * 2]
        self.files = [path.read_bytes() for path in self.paths]
        self.pi = setup.pi
        for start in (self.paths[0], self.checkpoint, self.run / "config.json"):
            self.read(start)  # completes all lazy imports before the audit hook is active
        for unknown in ("None-v0", "no.such:Env-v0"):
            with contextlib.suppress(UserError):
                make_env(unknown).close()
        os.chdir(self.run)  # logs are opened by relative names
        sys.addaudithook(self.audit)

    def audit(self, event: str, args: tuple) -> None:
        """Audit hook: raise ForbiddenAction for writes outside the run directory, and for anything that starts code."""
        if not self.watching:
            return
        if event in FORBIDDEN_EVENTS:
            raise ForbiddenAction(f"{event} {args!r:.200}")
        if event == "open" and args[2] & WRITE_FLAGS or event in PATH_EVENTS:
            path = args[0]
            if not isinstance(path, int) and not Path(os.fsdecode(path)).absolute().resolve().is_relative_to(self.run):
                raise ForbiddenAction(f"{event} {path!r:.200}")

    def read(self, path: Path) -> None:
        """Read a file as the commands do.

        Raises:
            UserError: the expected error for a damaged file.
        """
        if path.name == "config.json":
            self.read_config(path)
            return
        if path == self.checkpoint:
            checkpoint = self.run_directory.checkpoints.latest(validate_checkpoint)
            check_compatible(checkpoint, self.pi, 1)
            logs = RunLogFiles(self.run, 0)
            logs.check(checkpoint[1]["logs"][0])
            logs.truncate_to(checkpoint[1]["logs"][0])
            self.training.restore(checkpoint)
        else:
            env_named_in(read_policy(path)[1], path, path)
        load_policy(path)

    def read_config(self, path: Path) -> None:
        """Read a config.json with --config and as that of the resumed run; raises the first error."""
        errors = []
        for read in (self.read_given_config, self.read_resumed_config):
            try:
                read(path)
            except UserError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def read_given_config(self, path: Path) -> None:
        """Read a config.json as given with --config."""
        self.build_policy(resolve_config({"env": "Pendulum-v1"} | load_overrides(path, {}, 1)[0], 1, 1))

    def read_resumed_config(self, path: Path) -> None:
        """Read a config.json as that of a resumed run."""
        previous = load_previous_run(path.parent, Communicator(None), allow_missing=False)
        config = resumed_config({}, previous.config, 1, path.parent)
        check_config(config, path.parent)
        self.build_policy(assign_cores(config, 1))

    def build_policy(self, config: ResolvedConfig) -> None:
        """Build the policy and check resources as in `preflight`; a large network is replaced by the one of this run."""
        env = make_env(config.run.env, env_kwargs=config.run.env_kwargs)
        env.close()
        cls, options = policy_class(config.run.policy), config.policy_kwargs
        spaces = env.observation_space, env.action_space
        shapes = cls.variable_shapes(*spaces, **options).values()
        is_small = len(shapes) <= 50 and all(int(np.prod([float(n) for n in shape])) < 10**5 for shape in shapes)
        check_resources(config, cls("pi", *spaces, **options) if is_small else self.pi)

    def other_files(self) -> dict[str, tuple[int, int]]:
        """{name: (size, modification time)} of everything next to the run directory."""
        return {
            entry.name: (entry.stat().st_size, entry.stat().st_mtime_ns)
            for entry in os.scandir(self.directory)
            if entry.name != "run"
        }

    def try_file(self, index: int, data: bytes, seconds: float) -> str:
        """Read a damaged file; returns 'loaded', 'refused' or a description of the failure.

        Args:
            index: of the file in `paths`.
            data: damaged content.
            seconds: time limit; SIGALRM has no handler, so a loader that exceeds it is killed.
        """
        path, log_path = self.paths[index], self.run / "progress.csv"
        path.write_bytes(data)
        log_path.write_bytes(LOG)
        before = self.other_files()
        signal.setitimer(signal.ITIMER_REAL, seconds)
        self.watching = True
        try:
            self.read(path)
            verdict = "loaded"
        except UserError as error:
            message = str(error)
            is_line = message.isprintable() and len(message) < 2000
            verdict = "refused" if is_line else f"message is not one line: {message!r:.300}"
        except BaseException as error:
            verdict = f"{type(error).__name__}: {str(error)!r:.300}"
        finally:
            self.watching = False
            signal.setitimer(signal.ITIMER_REAL, 0)
        log = log_path.read_bytes() if log_path.exists() else b""
        if not LOG.startswith(log):
            verdict = "a log was changed or extended"
        if self.other_files() != before:
            verdict = "a file outside the run directory was changed"
        path.write_bytes(self.files[index])
        return verdict


def make_policies() -> list[MlpPolicy | CnnPolicy]:
    """Small policies with different spaces."""
    nested = gym.spaces.Dict(a=BOX, b=gym.spaces.Tuple([gym.spaces.MultiBinary(2), gym.spaces.Discrete(2)]))
    image = gym.spaces.Box(0, 255, (36, 36, 1), np.uint8)
    five, three = gym.spaces.Discrete(5), gym.spaces.Discrete(3)
    return [
        MlpPolicy("pi", BOX, gym.spaces.Box(-2, 2, (1,)), hid_size=4),
        MlpPolicy("pi", five, three, hid_size=4, shared_trunk=True, normalise_ob=False),
        MlpPolicy("pi", nested, gym.spaces.MultiDiscrete([2, 3]), num_hid_layers=0),
        CnnPolicy("pi", image, gym.spaces.MultiBinary(2), kind="small"),
    ]
