"""From what was typed to a run: settings resolved, folder, environments, `learn`. Every rank goes through here."""
import gc
import importlib
import json
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
from baselines_ppo.outputs import announce, draw_report, outputs, print_end, save_policy, versions  # noqa: E402
from baselines_ppo.resolve import (  # noqa: E402
    CONFIG_FORMAT,
    LIMITS,
    check_ranks,
    checked_policy_settings,
    go_on_with,
    policy_named,
    resumed_settings,
    settings_for,
    typed_from,
)
from baselines_ppo.settings import ALGORITHMS  # noqa: E402
from common import mpi  # noqa: E402
from common.errors import EnvironmentFault, UserError  # noqa: E402
from common.quiet import available_cores, import_tensorflow  # noqa: E402

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
        return give_up(comm, "interrupted", status=130)
    except (EnvironmentFault, FloatingPointError) as error:
        return give_up(comm, error, status=1, trace=getattr(error, "trace", None))
    except BaseException as error:
        return give_up(comm, f"{type(error).__name__}: {error}", status=1, trace=traceback.format_exc())
    finally:
        gc.unfreeze()  # or ALE's objects are never freed, and its bindings say so in twenty lines


def give_up(comm, reason, status, trace=None):
    """The one door for a rank that fails. What fails on all ranks is said once: the others leave it to rank 0 for a second.

    Args:
        trace: a traceback, which is shown above the reason's one line.
    """
    if comm.rank > 0:
        time.sleep(1.0)
    if trace:
        print(trace, file=sys.stderr, end="", flush=True)
    if comm.size == 1:
        complain(reason)
        return status
    comm.abort(" ".join(str(reason).split()), status)


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
    previous, said = None, typed
    if args.config:
        if args.resume:
            raise UserError("--resume takes its settings from the run's folder; leave --config out")
        typed, said = typed_from(args.config, typed, comm.size)
    if args.resume:
        if "run_dir" not in typed:
            raise UserError("--resume needs --run-dir, the folder of the run to go on with")
        previous = read_previous(Path(typed["run_dir"]))
        check_ranks(previous, comm.size, typed["run_dir"])
        typed_now, typed = typed, go_on_with(previous["typed"], typed)
        said = typed
    if "env" not in typed:
        raise UserError("--env is missing; name a Gymnasium environment, such as --env Hopper-v4")
    cores = max(1, available_cores() // comm.host_size)
    settings = settings_for(typed if previous is None else typed | typed_now, comm.size, cores)
    if args.print_config:
        if previous is not None:
            settings = resumed_settings(typed_now, settings, previous["settings"], typed_now["run_dir"])
        if comm.rank == 0:
            print(json.dumps({"format": CONFIG_FORMAT, "ranks": comm.size, "typed": said, "settings": settings}, indent=1))
        return 0
    start_tensorflow(settings["policy"], cores)
    settings["policy_settings"] = checked_policy_settings(settings)
    if previous is not None:
        settings = resumed_settings(typed_now, settings, previous["settings"], typed_now["run_dir"])
    path = settings["run_dir"] = comm.broadcast(settings["run_dir"] or default_folder(settings))
    folder = claim_folder(path, comm, previous is not None, settings["keep_checkpoints"])
    checkpoint = None
    if previous is not None:
        checkpoint = folder.latest_checkpoint(exact=args.resume == "exact")
        if checkpoint is None and folder.checkpoints():
            raise UserError(f"--resume exact: {path} has a forced checkpoint and no scheduled one yet; go on from it by --resume alone")
        folder.cut_logs(checkpoint[1]["logs"][comm.rank] if checkpoint else {}, comm.rank)
        comm.barrier()  # all have read
        if comm.rank == 0:
            folder.forget_after(checkpoint[2] if checkpoint else None)
    if comm.rank == 0:
        if not settings["quiet"]:
            announce(settings, typed, comm, previous, checkpoint, folder.passed_over)
        folder.write_config({"format": CONFIG_FORMAT, "typed": said, "settings": settings, "ranks": comm.size, "seed": settings["seed"],
                             "versions": versions(), "git_commit": git_commit(), "argv": sys.argv, "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                             "platform": platform.platform()})
    comm.barrier()
    return learn_in(folder, settings, comm, checkpoint)


def default_folder(settings):
    """Where a run goes that was not told where: under `BASELINES_PPO_RUNS`, or runs/ here."""
    root = Path(os.environ.get("BASELINES_PPO_RUNS") or "runs")
    return str(root / settings["env"].replace("/", "-").replace(":", "-") / f"{time.strftime('%Y%m%d-%H%M%S')}-seed{settings['seed']}")


def read_previous(path):
    """The `config.json` of the run to go on with."""
    from common.run_folder import RunFolder
    config = RunFolder.config_in(path)
    if config is None:
        raise UserError(f"--resume: there is no run in {path}; check --run-dir, or leave --resume out to start one")
    if config.get("format") != CONFIG_FORMAT or not {"typed", "settings", "ranks"} <= config.keys():
        raise UserError(f"--resume: {path}/config.json was not written by this program; choose another --run-dir")
    return config


def claim_folder(path, comm, resuming, keep):
    """The run's folder, claimed by rank 0 for the whole job; it keeps `keep` checkpoints."""
    from common.run_folder import RunFolder
    error = folder = None
    if comm.rank == 0:
        try:
            folder = RunFolder(path, keep)
            folder.claim()
            if not resuming and folder.read_config() is not None:
                raise UserError(f"run directory {path} already holds a run; go on with it by --resume, or choose another --run-dir")
        except UserError as caught:
            error = str(caught)
    if error := comm.broadcast(error):
        raise UserError(error)
    return folder or RunFolder(path)


def learn_in(folder, settings, comm, checkpoint):
    """Build environments and logs, train, save the policy, and draw what happened."""
    learn = importlib.import_module(LEARN[settings["alg"]]).learn
    from common.envs import make_vector_env
    env = make_vector_env(settings["env"], settings["num_envs"], comm.rank, folder.path, settings["env_workers"],
                          reward_scale=settings["reward_scale"], **settings["env_kwargs"] or {})
    policy_class = policy_named(settings["policy"])
    running = {}
    logger, callbacks = outputs(folder, settings, running) if comm.rank == 0 else (None, [])

    def on_start(training):
        running["training"] = training
        running["handlers"] = install_signals(training)
        gc.collect()
        gc.freeze()  # TensorFlow's million objects need not be looked through again and again

    try:
        pi = learn(env, lambda name, ob_space, ac_space: policy_class(name, ob_space, ac_space, **settings["policy_settings"]),
                   **{one.name: settings[one.name] for one in fields(ALGORITHMS[settings["alg"]])}, max_timesteps=settings["num_timesteps"] or 0,
                   **{key: settings[key] for key in LIMITS[1:]}, seed=settings["seed"], averaging=settings["averaging"], env_threads=settings["env_threads"],
                   comm=comm, logger=logger, folder=folder, checkpoint=checkpoint, checkpoint_every=settings["checkpoint_every"], on_start=on_start,
                   callback=callbacks)
    finally:
        for number, handler in running.get("handlers", {}).items():
            signal.signal(number, handler)  # the caller's own: this may be called from Python
        for one in (logger, *callbacks):
            if hasattr(one, "close"):
                one.close()
        close(env)
    training = running["training"]
    status = training.stop_requested + 128 if isinstance(training.stop_requested, int) else 0
    if comm.rank == 0:
        save_policy(pi, folder, settings)
        for one in callbacks:
            if hasattr(one, "at_end"):
                one.at_end(training)
        if not settings["quiet"]:
            print_end(training, folder)
        if settings["report"] and not status:
            draw_report(folder, settings)
    comm.barrier()
    folder.release()
    return status


def close(env):
    """Close the environments. One that cannot be is told: it must not hide what ended the run, nor cost the policy of one that ended well."""
    try:
        env.close()
    except Exception as error:
        print(f"an environment could not be closed: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr, flush=True)


def install_signals(training):
    """SIGINT and SIGTERM finish the iteration, write a checkpoint and end the run; a second one ends it at once.

    Returns {signal: its handler until now}.
    """
    def handler(number, frame):
        signal.signal(number, signal.default_int_handler)
        training.request_stop(int(number))
    return {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
