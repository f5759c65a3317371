"""From what was typed to a run: settings resolved, folder, environments, `learn`. Every rank goes through here."""

import gc
import importlib
import itertools
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

from baselines_ppo.cli.command_lines import report_command, to_argv
from baselines_ppo.cli.errors import print_error
from baselines_ppo.config.combinations import check_flag_combinations
from baselines_ppo.config.config_files import CONFIG_FORMAT, load_overrides
from baselines_ppo.config.registry import STOP_SETTINGS
from baselines_ppo.config.resolve import check_ranks, drop_unchanged_load_path, merge_resume_overrides, resumed_settings
from baselines_ppo.config.run_settings import RunSettings
from baselines_ppo.config.settings import ALGORITHMS
from baselines_ppo.experiment.directory import acquire_run_directory, rewind_to_checkpoint, runs_folder
from baselines_ppo.experiment.outputs import (
    draw_report,
    outputs,
    print_run_header,
    print_run_summary,
    versions,
)
from baselines_ppo.experiment.setup import assign_cores_to, resolve_for_env
from baselines_ppo.experiment.warm_start import COPY, load_initial_policy, save_initial_copy
from baselines_ppo.train.preflight import build_probe_policy, check_resources
from baselines_ppo.train.resume import check_settings, load_previous_run
from baselines_ppo.train.session import Job, close
from common.diagnostics.replica_check import ReplicaDivergenceError
from common.distributed import communicator
from common.errors import SIGNAL_DEBOUNCE_SECONDS, EnvError, UserError
from common.hints import OTHER_RUN_DIR
from common.loggers.console import tolerate_closed_stream
from common.runtime import os_features
from common.runtime.cpu import cpu_affinity
from common.runtime.tf_import import import_tensorflow
from common.storage.paths import writable_file
from common.storage.write_errors import WriteError, user_error_on_os_error

STOPPING = "stopping: the run will finish its iteration and write a checkpoint; once more, and it ends at once"
LEARN = {"ppo": "baselines_ppo.pposgd_simple", "trpo": "baselines_ppo.trpo_mpi", "vpg": "baselines_ppo.vpg"}


def run(typed, args):
    """Train as the command line says, on every rank; returns the exit status."""
    try:
        comm = communicator.world()
    except UserError as error:
        print_error(error)
        return 2
    job = Job(comm, typed.get("stall_timeout", RunSettings.stall_timeout))
    try:
        return train(typed, args, job)
    except UserError as error:
        return job.fail(error, status=2)
    except KeyboardInterrupt:
        return job.fail("interrupted", status=130)
    except WriteError as error:
        return job.fail("; ".join([str(error), *getattr(error, "__notes__", ())]), status=1)
    except (EnvError, FloatingPointError, ReplicaDivergenceError) as error:
        return job.fail(error, status=1, trace=getattr(error, "trace", None))
    except BaseException as error:
        return job.fail(f"{type(error).__name__}: {error}", status=1, trace=traceback.format_exc())
    finally:
        job.end()
        gc.unfreeze()  # or ALE's objects are never freed, and its bindings say so in twenty lines


def git_commit():
    """Commit of the source tree, '+' behind it if it has been changed; None outside a repository."""
    try:
        git = ["git", "-C", str(Path(__file__).parent)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
        dirty = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "") if head.returncode == 0 else None


# ---- training


def start_tensorflow(policy, cores):
    """Import TensorFlow with the threads that a kind of policy gains from: sweeps of 64 to 512 units took 0.9 to 1.2 times as long on two."""
    cnn = policy == "cnn"
    import_tensorflow(threads=cores if cnn else 1, onednn=cnn, operations=min(2, cores) if cnn else 1)


def cores_of_a_rank(comm):
    """How many cores each rank has: those that it may run on, shared with the ranks of its host that may run on the same; the least over all ranks."""
    own = cpu_affinity()
    return comm.minimum(max(1, len(own) // comm.gather_on_host(own).count(own)))


def train(typed, args, job):
    """Resolve, build and learn on this rank; returns the exit status."""
    comm, previous, said = job.comm, None, typed
    if args.config:
        if args.resume:
            raise UserError("--resume takes its settings from the run's folder; leave --config out")
        typed, said = load_overrides(args.config, typed, comm.size)
    if args.resume:
        if "run_dir" not in typed:
            raise UserError("--resume needs --run-dir, the folder of the run to go on with")
        previous = load_previous_run(Path(typed["run_dir"]), comm, allow_missing=args.resume == "auto")
    if previous is not None:
        check_ranks(previous, comm.size, typed["run_dir"])
        typed_now, typed = (
            drop_unchanged_load_path(typed, previous["typed"]),
            merge_resume_overrides(previous["typed"], typed),
        )
        said = typed
    else:
        check_flag_combinations(typed)
    if "env" not in typed:
        raise UserError("--env is missing; name a Gymnasium environment, such as --env Hopper-v4")
    cores = cores_of_a_rank(comm)
    if previous is None:
        settings = resolve_for_env(typed, comm.size, cores)
    else:
        settings = resumed_settings(typed_now, previous["settings"], comm.size, typed_now["run_dir"])
        check_settings(settings, typed_now["run_dir"])
        settings = assign_cores_to(settings, cores)
    if args.print_config:
        if comm.rank == 0:
            print(
                json.dumps({"format": CONFIG_FORMAT, "ranks": comm.size, "typed": said, "settings": settings}, indent=1)
            )
        return 0
    job.heartbeat.timeout = settings["stall_timeout"]
    start_tensorflow(settings["policy"], cores)
    pi = build_probe_policy(settings)
    settings["policy_settings"] = pi.settings()
    check_resources(settings, pi)
    start = config = None
    if previous is None and settings["load_path"]:
        settings["load_path"], start = load_initial_policy(settings["load_path"], pi, comm, to_argv)
    check_save_policy(settings, comm)
    path = settings["run_dir"] = comm.run_on_root(lambda: settings["run_dir"] or default_folder(settings))
    folder = job.folder = acquire_run_directory(path, comm, previous is not None, settings["keep_checkpoints"])
    check_save_policy(settings, comm)  # again: it may be where the run's folder is now
    try:
        checkpoint = (
            None if previous is None else rewind_to_checkpoint(folder, comm, exact=args.resume == "exact", pi=pi)
        )
        if comm.rank == 0:
            if not settings["quiet"]:
                with tolerate_closed_stream():
                    print_run_header(settings, said, comm, previous, checkpoint, folder.checkpoints.skipped)
            if start is not None:
                save_initial_copy(folder, pi, start, settings["load_path"], settings)
            config = {
                "format": CONFIG_FORMAT,
                "typed": said,
                "settings": settings,
                "ranks": comm.size,
                "seed": settings["seed"],
                "versions": versions(),
                "git_commit": git_commit(),
                "argv": sys.argv,
                "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                "platform": platform.platform(),
            }
            folder.write_config(config)
        comm.barrier()
        return learn_in(job, settings, checkpoint, config)
    except WriteError as error:
        job.spare.close()
        error.add_note(folder.recovery_hint(error))
        raise


def check_save_policy(settings, comm):
    """Make the folder of the file that the final policy is written to. UserError, on all ranks, if rank 0 cannot write there."""
    if settings["save_policy"]:
        comm.run_on_root(lambda: writable_file(settings["save_policy"], "--save-policy"))


def default_folder(settings):
    """Where a run goes that was not told where: under `BASELINES_PPO_RUNS`, or runs/ here. A number is behind it if another run has begun this second. The
    folder is made, so that a run that asks at the same moment gets another.

    Raises:
        UserError: if it cannot be made.
    """
    root = runs_folder()
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-seed{settings['seed']}"
    folder = root / settings["env"].replace("/", "-").replace(":", "-")
    ends = itertools.chain([""], (f"-{i}" for i in itertools.count(2)))
    for path in (folder / f"{name}{end}" for end in ends):
        with user_error_on_os_error(f"run directory {path}", OTHER_RUN_DIR):
            try:
                os.makedirs(path)
                return str(path)
            except FileExistsError:
                continue


def learn_in(job, settings, checkpoint, config):
    """Build environments and logs, train, save the policy, and draw what happened; rank 0's `config` is written again with what was chosen."""
    folder, comm, running = job.folder, job.comm, {}
    job.keep_in(folder)
    learn = importlib.import_module(LEARN[settings["alg"]]).learn
    from common.envs.normalization_wrappers import describe_statistics, running_statistics
    from common.vec_env.factory import make_vector_env

    env = make_vector_env(
        settings["env"],
        settings["num_envs"],
        comm.rank,
        folder.path,
        settings["env_workers"],
        reward_scale=settings["reward_scale"],
        env_kwargs=settings["env_kwargs"],
        stagger=settings["stagger"] and comm.size,
    )
    job.opened.callback(close, env)
    if comm.rank == 0 and not settings["quiet"] and (statistics := running_statistics(env)):
        with tolerate_closed_stream():
            print(describe_statistics(statistics, {"observations": "--normalise-ob true", "rewards": "--scale-returns true"}))
    from baselines_ppo.policy_registry import policy_class

    cls = policy_class(settings["policy"])

    def on_start(training, learner):
        if comm.rank == 0:
            folder.write_config(config | {"averaging": learner.averaging_by_group})
        running["training"] = training
        running["handlers"] = install_signals(training, running.get("screen"))
        gc.collect()
        gc.freeze()  # TensorFlow's million objects need not be looked through again and again

    logger, callbacks = outputs(folder, settings, running) if comm.rank == 0 else (None, [])
    for one in reversed(callbacks):
        if hasattr(one, "close"):
            job.opened.callback(one.close)
    if logger is not None:
        job.attach_logger(logger)
    job.opened.callback(restore_signals, running)
    learn(
        env,
        lambda name, ob_space, ac_space: cls(name, ob_space, ac_space, **settings["policy_settings"]),
        **{one.name: settings[one.name] for one in fields(ALGORITHMS[settings["alg"]])},
        max_timesteps=settings["num_timesteps"] or 0,
        **{key: settings[key] for key in STOP_SETTINGS[1:]},
        seed=settings["seed"],
        averaging=settings["averaging"],
        env_threads=settings["env_threads"],
        comm=comm,
        logger=logger,
        folder=folder,
        checkpoint=checkpoint,
        load_path=settings["load_path"] and folder.path / COPY,
        checkpoint_every=settings["checkpoint_every"],
        on_start=on_start,
        callback=callbacks,
        heartbeat=job.heartbeat,
    )
    if logger is not None:
        logger.close()
    restore_signals(running)
    training = running["training"]
    status = training.stop_requested + 128 if isinstance(training.stop_requested, int) else 0
    if comm.rank == 0:
        with tolerate_closed_stream():
            print_run_summary(training, folder, settings, comm.size, status)
    job.close()
    if comm.rank == 0:
        if settings["report"] and status in (0, signal.SIGINT + 128):
            draw_report(folder, settings)
        elif settings["report"] and not settings["quiet"]:  # what else ends a run leaves it little time
            print(f"report: not drawn, to end in time; draw it by: {report_command(folder.path)}", flush=True)
    comm.barrier()
    return status


def install_signals(training, screen=None):
    """SIGINT, SIGTERM, SIGUSR1, a scheduler's warning, and SIGHUP, a terminal's end, finish the iteration, write a checkpoint and end the run; one
    that comes later than `SIGNAL_DEBOUNCE_SECONDS` ends it at once. Under nohup SIGHUP stays ignored.

    Args:
        training: the `TrainingLoop`.
        screen: where the first is answered; None on ranks that have none.

    Returns:
        {signal: its handler until now}.
    """
    first = None

    def handler(number, frame):
        nonlocal first
        if first is None:
            first = time.monotonic()
            training.request_stop(int(number))
            if screen is not None:
                screen.notify(STOPPING)
        elif time.monotonic() - first > SIGNAL_DEBOUNCE_SECONDS:
            signal.default_int_handler(number, frame)

    numbers = os_features.signals("SIGINT", "SIGTERM", "SIGUSR1")
    numbers += [number for number in os_features.signals("SIGHUP") if signal.getsignal(number) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in numbers}


def restore_signals(running):
    """Give signals back to the caller: a run may be started from Python."""
    for number, handler in running.get("handlers", {}).items():
        signal.signal(number, handler)
