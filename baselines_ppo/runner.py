"""From what was typed to a run: settings resolved, folder, environments, `learn`. Every rank goes through here."""
import gc
import importlib
import importlib.metadata
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import fields
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # acting multiplies vectors: more threads only wait for each other

from baselines_ppo.cli import complain  # noqa: E402
from baselines_ppo.resolve import LIMITS, MAY_CHANGE, check_ranks, checked_policy_settings, go_on_with, policy_named, resumed_settings, settings_for  # noqa: E402
from baselines_ppo.settings import ALGORITHMS  # noqa: E402
from common import mpi  # noqa: E402
from common.errors import UserError  # noqa: E402
from common.quiet import available_cores, import_tensorflow  # noqa: E402

PACKAGES = ("baselines_ppo", "tensorflow", "tensorflow-probability", "gymnasium", "mujoco", "ale-py", "mpi4py", "mpich", "numpy")
LEARN = {"ppo": "baselines_ppo.pposgd_simple", "trpo": "baselines_ppo.trpo_mpi", "vpg": "baselines_ppo.vpg"}


def run(typed, args):
    """Train as the command line says, on every rank; returns the exit status."""
    try:
        comm = mpi.world()
    except UserError as error:
        complain(error)
        return 2
    try:
        return train(typed, args, comm)
    except UserError as error:
        return give_up(comm, error, status=2)
    except KeyboardInterrupt:
        return give_up(comm, "interrupted a second time", status=130)
    except FloatingPointError as error:
        return give_up(comm, error, status=1)
    except BaseException as error:
        traceback.print_exc()
        return give_up(comm, f"{type(error).__name__}: {error}", status=1)


def give_up(comm, reason, status):
    """The one door for a rank that fails. What fails on all ranks is said once: the others leave it to rank 0 for a second."""
    if comm.size == 1:
        complain(reason)
        return status
    if comm.rank > 0:
        time.sleep(1.0)
    comm.abort(" ".join(str(reason).split()), status)


def versions():
    """Installed versions of what a result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def git_commit():
    """Commit of the source tree, '+' behind it if it has been changed; None outside a repository."""
    try:
        git = ["git", "-C", str(Path(__file__).parent)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
        dirty = subprocess.run([*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "") if head.returncode == 0 else None


# ---- training

def start_tensorflow(policy, cores):
    """Import TensorFlow with the threads that a kind of policy gains from: sweeps of 64 to 512 units took 0.9 to 1.2 times as long on two."""
    cnn = policy == "cnn"
    import_tensorflow(threads=cores if cnn else 1, onednn=cnn)


def train(typed, args, comm):
    """Resolve, build and learn on this rank; returns the exit status."""
    previous = None
    if args.resume:
        if "run_dir" not in typed:
            raise UserError("--resume needs --run-dir, the folder of the run to go on with")
        previous = read_previous(Path(typed["run_dir"]))
        check_ranks(previous, comm.size, typed["run_dir"])
        typed_now, typed = typed, go_on_with(previous["typed"], typed)
    if "env" not in typed:
        raise UserError("--env is missing; name a Gymnasium environment, such as --env Hopper-v4")
    cores = max(1, available_cores() // comm.host_size)
    settings = settings_for(typed if previous is None else typed | typed_now, comm.size, cores)
    start_tensorflow(settings["policy"], cores)
    settings["policy_settings"] = checked_policy_settings(settings)
    if previous is not None:
        settings = resumed_settings(typed_now, settings, previous["settings"], typed_now["run_dir"])
    path = comm.broadcast(settings["run_dir"] or f"runs/{settings['env'].replace('/', '-')}/{time.strftime('%Y%m%d-%H%M%S')}-seed{settings['seed']}")
    settings["run_dir"] = path
    folder = claim_folder(path, comm, resuming=previous is not None)
    checkpoint = None
    if previous is not None:
        checkpoint = folder.latest_checkpoint(exact=args.resume == "exact")
        folder.cut_logs(checkpoint[1]["logs"][comm.rank] if checkpoint else {}, comm.rank)
    if comm.rank == 0:
        announce(settings, typed, comm, previous, checkpoint, folder.passed_over)
        folder.write_config({"format": "baselines_ppo.config", "typed": typed, "settings": settings, "ranks": comm.size, "seed": settings["seed"],
                             "versions": versions(), "git_commit": git_commit(), "argv": sys.argv, "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                             "platform": platform.platform()})
    comm.barrier()
    return learn_in(folder, settings, comm, checkpoint)


def read_previous(path):
    """The `config.json` of the run to go on with."""
    from common.run_folder import RunFolder
    config = RunFolder(path).read_config() if path.is_dir() else None
    if config is None:
        raise UserError(f"--resume: there is no run in {path}; check --run-dir, or leave --resume out to start one")
    if config.get("format") != "baselines_ppo.config" or not {"typed", "settings", "ranks"} <= config.keys():
        raise UserError(f"--resume: {path}/config.json was not written by this program; choose another --run-dir")
    return config


def claim_folder(path, comm, resuming):
    """The run's folder, claimed by rank 0 for the whole job."""
    from common.run_folder import RunFolder
    error = folder = None
    if comm.rank == 0:
        try:
            folder = RunFolder(path)
            folder.claim()
            if not resuming and folder.read_config() is not None:
                raise UserError(f"run directory {path} already holds a run; go on with it by --resume, or choose another --run-dir")
        except UserError as caught:
            error = str(caught)
    if error := comm.broadcast(error):
        raise UserError(error)
    return folder or RunFolder(path)


def announce(settings, typed, comm, previous, checkpoint, passed_over):
    """Say what is about to happen, in a few lines."""
    ranks = f"{comm.size} ranks" if comm.size > 1 else "1 rank"
    steps, rows = ALGORITHMS[settings["alg"]].counts()
    how = f"{settings['alg']} ({settings['objective']})" if "objective" in settings else settings["alg"]
    print(f"{settings['env']}: {how}, preset {settings['preset']}, {settings['policy']} policy, "
          f"seed {settings['seed']}, {ranks}")
    print(f"per rank: {settings['num_envs']} env, segments of {settings[steps]} steps, "
          f"minibatches of {settings[rows] or 'all'}  ->  {settings['run_dir']}")
    if previous is not None:
        for line in passed_over:
            print(f"resume: passed over a checkpoint: {line}")
        start = f"goes on from {checkpoint[2].name}" if checkpoint else "has no checkpoint yet: starts afresh"
        print(f"resume: {start}")
        if checkpoint and checkpoint[1]["forced"]:
            print("resume: it is a forced one: nothing is lost, but an undisturbed run would not have cut its episodes here")
        for key in MAY_CHANGE:
            if key in typed and typed[key] != previous["settings"].get(key):
                print(f"resume: {key} is now {typed[key]}, was {previous['settings'].get(key)}")
        if changed := {name for name, version in versions().items() if version != previous.get("versions", {}).get(name)}:
            print(f"resume: other versions than before of {', '.join(sorted(changed))}: the result may differ in its last bits")
    sys.stdout.flush()


def learn_in(folder, settings, comm, checkpoint):
    """Build environments and logs, train, and save the policy."""
    learn = importlib.import_module(LEARN[settings["alg"]]).learn
    from common.envs import make_vector_env
    from common.logger import CsvOutput, JsonOutput, Logger, Screen, TensorBoardOutput
    env = make_vector_env(settings["env"], settings["num_envs"], comm.rank, folder.path, settings["env_workers"],
                          reward_scale=settings["reward_scale"], **settings["env_kwargs"] or {})
    policy_class = policy_named(settings["policy"])
    running = {}
    logger = None
    if comm.rank == 0:
        logger = Logger([CsvOutput(folder.path / "progress.csv"), JsonOutput(folder.path / "progress.json"), TensorBoardOutput(folder.path / "tb"),
                         Screen(lambda: running["training"].progress, settings["log_interval"])])

    def on_start(training):
        running["training"] = training
        running["handlers"] = install_signals(training)
        gc.collect()
        gc.freeze()  # TensorFlow's million objects need not be looked through again and again

    try:
        pi = learn(env, lambda name, ob_space, ac_space: policy_class(name, ob_space, ac_space, **settings["policy_settings"]),
                   **{one.name: settings[one.name] for one in fields(ALGORITHMS[settings["alg"]])}, max_timesteps=settings["num_timesteps"] or 0,
                   **{key: settings[key] for key in LIMITS[1:]}, seed=settings["seed"], averaging=settings["averaging"], env_threads=settings["env_threads"],
                   comm=comm, logger=logger, folder=folder, checkpoint=checkpoint, checkpoint_every=settings["checkpoint_every"], on_start=on_start)
    finally:
        for number, handler in running.get("handlers", {}).items():
            signal.signal(number, handler)  # the caller's own: this may be called from Python
        if logger is not None:
            logger.close()
        env.close()
    training = running["training"]
    if comm.rank == 0:
        save_policy(pi, folder, settings)
        print_end(training, folder)
    comm.barrier()
    folder.release()
    gc.unfreeze()  # or ALE's objects are never freed, and its bindings say so in twenty lines
    return training.stop_requested + 128 if isinstance(training.stop_requested, int) else 0


def install_signals(training):
    """SIGINT and SIGTERM finish the iteration, write a checkpoint and end the run; a second one ends it at once.

    Returns {signal: its handler until now}.
    """
    def handler(number, frame):
        signal.signal(number, signal.default_int_handler)
        training.request_stop(int(number))
    return {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}


def save_policy(pi, folder, settings):
    """`policy/policy.safetensors` in the run's folder, and where else it was asked for."""
    (folder.path / "policy").mkdir(exist_ok=True)
    extra = {key: settings[key] for key in ("env", "env_kwargs")}
    pi.save(folder.path / "policy" / "policy.safetensors", **extra)
    if settings["save_policy"]:
        pi.save(settings["save_policy"], **extra)


def print_end(training, folder):
    """The run's last lines."""
    if training.rewbuffer:
        mean = sum(training.rewbuffer) / len(training.rewbuffer)
        print(f"mean return of the last {len(training.rewbuffer)} training episodes: {mean:.6g}")
    print(f"{training.timesteps_so_far:,} steps in {training.elapsed:.0f} s  ->  {folder.path}")
    if training.progress < 1:
        print(f"stopped early; go on with: --run-dir {folder.path} --resume")
