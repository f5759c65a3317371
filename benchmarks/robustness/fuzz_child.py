"""The process that is fuzzed: it reads one damaged file after the other, as the commands would, and says what it made of them.

Started by fuzz_loads.py. Prints a line of JSON every so often: inputs read, files that still loaded, refusals, failures.
"""

import gc
import json
import os
import resource
import signal
import sys
from pathlib import Path

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "OPENBLAS_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

import gymnasium as gym  # noqa: E402
import numpy as np  # noqa: E402
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402

from baselines_ppo import CnnPolicy, MlpPolicy  # noqa: E402
from baselines_ppo.algorithm_setup import AlgorithmSetup  # noqa: E402
from baselines_ppo.cli.parser import parse  # noqa: E402
from baselines_ppo.config.config_files import CONFIG_FORMAT, load_overrides  # noqa: E402
from baselines_ppo.config.resolve import resumed_settings  # noqa: E402
from baselines_ppo.config.settings import PPOSettings  # noqa: E402
from baselines_ppo.experiment.setup import assign_cores_to, resolve_for_env  # noqa: E402
from baselines_ppo.play.policy_env import env_named_in  # noqa: E402
from baselines_ppo.policy_registry import load_policy, policy_class  # noqa: E402
from baselines_ppo.pposgd_simple import PPOUpdate  # noqa: E402
from baselines_ppo.train.preflight import check_resources  # noqa: E402
from baselines_ppo.train.resume import check_compatible, check_settings, load_previous_run  # noqa: E402
from benchmarks.robustness.fuzz_mutations import PLANS, damaged  # noqa: E402
from common.distributed.communicator import Communicator  # noqa: E402
from common.envs.factory import make_env
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
EVERY = 100  # inputs a line
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PATHS = (
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
NEVER = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "pickle.find_class")


class Touched(BaseException):
    """A loader reached for what it has no business with."""


class Target:
    """The loaders, and the folder that they may touch.

    Args:
        folder: of this process; its `run` is the run's folder, everything else must stay as it is.

    Attributes:
        paths, files: of the whole files that are to be damaged: where each belongs, and its bytes.
    """

    def __init__(self, folder):
        self.folder, self.run, self.watching = folder, folder / "run", False
        self.run_folder = RunDirectory(self.run)
        (folder / "progress.csv").write_bytes(LOG)
        (self.run / "progress.csv").write_bytes(LOG)
        env = make_vector_env("Pendulum-v1", 1, 0, self.run)
        given = {
            "timesteps_per_actorbatch": 64,
            "optim_batchsize": 32,
            "scale_returns": True,
            "objective": "adaptive_kl",
        }
        setup = AlgorithmSetup(
            PPOSettings,
            given,
            {"folder": self.run_folder},
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
        self.settings = resolve_for_env(parse(ARGV)[0], 1, 1) | {"policy_settings": setup.pi.settings()}
        self.run_folder.write_config(
            {
                "format": CONFIG_FORMAT,
                "ranks": 1,
                "typed": parse(ARGV)[0],
                "settings": self.settings,
                "versions": {"numpy": "2"},
            }
        )
        policies = [
            MlpPolicy("pi", BOX, gym.spaces.Box(-2, 2, (1,)), hid_size=4),
            MlpPolicy(
                "pi", gym.spaces.Discrete(5), gym.spaces.Discrete(3), hid_size=4, shared_trunk=True, normalise_ob=False
            ),
            MlpPolicy(
                "pi",
                gym.spaces.Dict(a=BOX, b=gym.spaces.Tuple([gym.spaces.MultiBinary(2), gym.spaces.Discrete(2)])),
                gym.spaces.MultiDiscrete([2, 3]),
                num_hid_layers=0,
            ),
            CnnPolicy("pi", gym.spaces.Box(0, 255, (36, 36, 1), np.uint8), gym.spaces.MultiBinary(2), kind="small"),
        ]
        for i, pi in enumerate(policies):
            pi.save(folder / f"{i}.safetensors", env="Pendulum-v1", env_kwargs={"g": 9.8})
        (self.checkpoint,) = self.run_folder.checkpoints.paths()
        self.paths = [*sorted(folder.glob("?.safetensors")), *[self.checkpoint] * 2, *[self.run / "config.json"] * 2]
        self.files = [path.read_bytes() for path in self.paths]
        self.pi, self.logs, self.envs = setup.pi, self.run_folder.log_sizes(0), {}
        for start in (self.paths[0], self.checkpoint, self.run / "config.json"):
            self.read(start)  # what is imported late is imported now
        for wrong in ("None-v0", "no.such:Env-v0"):
            self.named(wrong)
        os.chdir(self.run)  # logs are opened by their names in it
        sys.addaudithook(self.audit)

    def named(self, env_id):
        try:
            make_env(env_id).close()
        except UserError:
            return

    def audit(self, event, args):
        """Raises Touched at a write outside the run's folder, and at anything that runs something."""
        if not self.watching:
            return
        if event in NEVER:
            raise Touched(f"{event} {args!r:.200}")
        if event == "open" and args[2] & WRITES or event in PATHS:
            path = args[0]
            if not isinstance(path, int) and not Path(os.fsdecode(path)).absolute().resolve().is_relative_to(self.run):
                raise Touched(f"{event} {path!r:.200}")

    def read(self, path):
        """What the commands do with a file of this kind; UserError is how it should end if there is something wrong with it."""
        if path.name == "config.json":
            return self.read_config(path)
        if path == self.checkpoint:
            checkpoint = self.run_folder.checkpoints.latest(validate_checkpoint)
            check_compatible(checkpoint, self.pi, 1)
            logs = RunLogFiles(self.run, 0)
            logs.check(checkpoint[1]["logs"][0])
            logs.cut(checkpoint[1]["logs"][0])
            self.training.restore(checkpoint)
            return load_policy(path)
        env_named_in(read_policy(path)[1], path, path)
        return load_policy(path)

    def read_config(self, path):
        problems = []
        for take in (self.as_config, self.as_a_runs_own):
            try:
                take(path)
            except UserError as error:
                problems.append(error)
        if problems:
            raise problems[0]

    def as_config(self, path):
        self.example(resolve_for_env({"env": "Pendulum-v1"} | load_overrides(path, {}, 1)[0], 1, 1))

    def as_a_runs_own(self, path):
        before = load_previous_run(path.parent, Communicator(None), allow_missing=False)
        settings = resumed_settings({}, before["settings"], 1, path.parent)
        check_settings(settings, path.parent)
        settings = assign_cores_to(settings, 1)
        self.example(settings)

    def example(self, settings):
        """As `preflight.build_probe_policy`, where the network is a small one."""
        env = make_env(settings["env"], env_kwargs=settings["env_kwargs"])
        env.close()
        cls, own, spaces = (
            policy_class(settings["policy"]),
            settings["policy_settings"],
            (env.observation_space, env.action_space),
        )
        small = sum(int(np.prod([float(n) for n in shape])) < 10**5 for shape in cls.variable_shapes(*spaces, **own).values())
        pi = cls("pi", *spaces, **own) if small == len(cls.variable_shapes(*spaces, **own)) <= 50 else self.pi
        check_resources(settings, pi)

    def stands(self):
        """Names, sizes and times of everything beside the run's folder."""
        return {
            entry.name: (entry.stat().st_size, entry.stat().st_mtime_ns)
            for entry in os.scandir(self.folder)
            if entry.name != "run"
        }

    def try_one(self, which, data, bound):
        """What became of a damaged file: 'loaded', 'refused', or what went wrong."""
        path = self.paths[which]
        path.write_bytes(data)
        (self.run / "progress.csv").write_bytes(LOG)
        before = self.stands()
        signal.setitimer(signal.ITIMER_REAL, bound)  # nobody handles its signal: a loader that hangs is killed
        self.watching = True
        try:
            self.read(path)
            verdict = "loaded"
        except UserError as error:
            verdict = (
                "refused" if str(error).isprintable() and len(str(error)) < 2000 else f"no line: {str(error)!r:.300}"
            )
        except BaseException as error:
            verdict = f"{type(error).__name__}: {str(error)!r:.300}"
        finally:
            self.watching = False
            signal.setitimer(signal.ITIMER_REAL, 0)
        log = (self.run / "progress.csv").read_bytes() if (self.run / "progress.csv").exists() else b""
        if not LOG.startswith(log):
            verdict = "a log was changed or made longer"
        if self.stands() != before:
            verdict = "a file beside the run's folder was touched"
        path.write_bytes(self.files[which])
        return verdict


def main(folder, count, start, bound, memory, failures):
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    failures, target = Path(failures).resolve(), Target(Path(folder).resolve())
    gc.freeze()  # TensorFlow's million objects, which a collection would look through again and again
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory * 2**20,) * 2)
    found = {"inputs": 0, "loaded": 0, "refused": 0, "failed": 0}
    print(json.dumps(found), flush=True)

    def one(plan):
        if found["inputs"] >= count:
            return
        which, data = damaged(target.files, plan)
        verdict = target.try_one(which, data, bound)
        found["inputs"] += 1
        if verdict in found:
            found[verdict] += 1
        else:
            found["failed"] += 1
            kept = failures / f"{start}-{found['inputs']}-{target.paths[which].name}"
            kept.write_bytes(data)
            print(json.dumps(found | {"failure": verdict, "file": str(kept)}), flush=True)
        if found["inputs"] % EVERY == 0:
            print(json.dumps(found), flush=True)

    while found["inputs"] < count:
        many = settings(
            max_examples=count - found["inputs"],
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        seed(start + found["inputs"])(many(given(PLANS)(one)))()
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]), float(sys.argv[4]), int(sys.argv[5]), sys.argv[6])
