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

from baselines_ppo.cli import POLICY_SETTINGS, RunSettings, complain  # noqa: E402
from baselines_ppo.presets import PRESETS, default_preset, share_out  # noqa: E402
from baselines_ppo.settings import ALGORITHMS  # noqa: E402
from common import mpi  # noqa: E402
from common.errors import UserError  # noqa: E402
from common.limits import Limits  # noqa: E402

PACKAGES = ("baselines_ppo", "tensorflow", "tensorflow-probability", "gymnasium", "mujoco", "ale-py", "mpi4py", "mpich", "numpy")
LEARN = {"ppo": "baselines_ppo.pposgd_simple", "trpo": "baselines_ppo.trpo_mpi", "vpg": "baselines_ppo.vpg"}
LIMITS = ("num_timesteps", "max_episodes", "max_iters", "max_seconds")
# what may differ when a run goes on: how long, and what is written
MAY_CHANGE = (*LIMITS, "run_dir", "log_interval", "save_policy")
MLP_ONLY = ("hid_size", "num_hid_layers", "gaussian_fixed_var", "shared_trunk", "normalise_ob", "ob_clip", "ob_min_std")


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


# ---- settings

def resolve(typed, ranks, kind, env_id, image):
    """All settings of a run, from what was typed, the preset and the defaults.

    Args:
        typed: {name: value} of what the user gave.
        ranks: number of ranks.
        kind: the environment's kind (`common.envs.kind_of`).
        env_id: its id.
        image: whether it observes images.

    Returns:
        {name: value} with every field of `RunSettings` and of the algorithm's settings, counts per rank, and `policy_settings`.

    Raises:
        UserError: for a value that cannot be.
    """
    alg = typed.get("alg") or (PRESETS[typed["preset"]].alg if "preset" in typed else "ppo")
    name = typed.get("preset") or default_preset(alg, kind, env_id)
    preset = PRESETS[name]
    if preset.alg != alg:
        raise UserError(f"--preset {name} is for --alg {preset.alg}, not {alg}; leave one of them out")
    policy = typed.get("policy") or ("cnn" if image else "mlp")
    run_settings = {one.name: one.default for one in fields(RunSettings)} | {"preset": name, "alg": alg, "policy": policy}
    run_settings["batch"] = "per-rank" if preset.per_rank else "total"
    run_settings |= {key: value for key, value in typed.items() if key in run_settings}
    if not any(key in typed for key in LIMITS):
        run_settings["num_timesteps"] = preset.num_timesteps
    for key in ("num_envs", "checkpoint_every", "env_threads"):
        if run_settings[key] is not None and run_settings[key] < 1:
            raise UserError(f"{key}={run_settings[key]}; give at least 1")
    if run_settings["seed"] < 0:
        raise UserError(f"seed={run_settings['seed']} is negative; give 0 or more")
    if run_settings["num_envs"] is None:
        run_settings["num_envs"] = preset.num_envs if preset.per_rank else share_out(preset.num_envs, ranks)
    learn_settings = resolve_algorithm(typed, alg, preset, run_settings["batch"] == "total", ranks, run_settings["num_envs"])
    limits = Limits(*(run_settings[key] or 0 for key in LIMITS))
    ALGORITHMS[alg](**learn_settings).check_with(limits)
    foreign = [key for key in typed if key in (MLP_ONLY if policy == "cnn" else ("kind",))]
    if foreign:
        raise UserError(f"--{foreign[0].replace('_', '-')} is not a setting of the {policy} policy; leave it out, or change --policy")
    policy_settings = preset.policy.get(policy, {}) | {key: typed[key] for key in POLICY_SETTINGS if key in typed}
    return run_settings | learn_settings | {"policy_settings": policy_settings}


def resolve_algorithm(typed, alg, preset, total, ranks, num_envs):
    """The algorithm's settings, counts per rank: what was typed, else the preset's, else the defaults. Arguments as in `resolve`.

    Args:
        total: whether counts are over all ranks, and to be shared out.
        num_envs: of one rank.
    """
    cls = ALGORITHMS[alg]
    settings = {one.name: one.default for one in fields(cls)}
    others = {one.name for other in ALGORITHMS.values() for one in fields(other)} - settings.keys()
    if foreign := [key for key in typed if key in others]:
        homes = [name for name, other in ALGORITHMS.items() if foreign[0] in {one.name for one in fields(other)}]
        raise UserError(f"--{foreign[0].replace('_', '-')} is not a setting of {alg}; leave it out, or choose --alg {' or '.join(homes)}")
    settings |= preset.learn | {key: value for key, value in typed.items() if key in settings}
    cls(**settings).check()  # as typed, before it is shared out
    if total:
        steps, rows = cls.counts()
        settings[steps] = share_out(settings[steps], ranks, num_envs)
        if settings[rows] is not None:
            settings[rows] = min(share_out(settings[rows], ranks), settings[steps])
        cls(**settings).check()
    return settings


def check_ranks(config, ranks, path):
    """Raises UserError if the run in `path` was trained on another number of ranks."""
    if config["ranks"] != ranks:
        raise UserError(f"{path} was trained on {config['ranks']} ranks, this job has {ranks}; resume it on {config['ranks']}")


def resumed_settings(typed, settings, before, path):
    """The settings of a run that goes on: its own, whatever presets have become since, with the limits and logging that are typed now.

    Args:
        typed: what is typed now.
        settings: resolved from what was typed then and now.
        before: the run's, from its `config.json`.

    Raises:
        UserError: if something else is typed than the run was started with.
    """
    for key, value in typed.items():
        now, then = (one[key] if key in one else one["policy_settings"].get(key) for one in (settings, before))
        if key not in MAY_CHANGE and now != then:
            raise UserError(f"--resume: {key}={value!r}, but the run in {path} has {then!r}; leave it out, or start a new run")
    return settings | before | {key: settings[key] for key in MAY_CHANGE}


def go_on_with(before, typed):
    """What was typed for a run, with what is typed to go on with it: one limit replaces another."""
    changed = {key: value for key, value in typed.items() if key in MAY_CHANGE}
    kept = {key: value for key, value in before.items() if key not in LIMITS or not any(limit in changed for limit in LIMITS)}
    return kept | changed


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
    from common.quiet import available_cores, import_tensorflow
    cores = max(1, available_cores() // comm.host_size)
    settings = settings_for(typed if previous is None else typed | typed_now, comm.size, cores)
    cnn = settings["policy"] == "cnn"
    import_tensorflow(threads=cores if cnn else 1, onednn=cnn)  # sweeps of 64 to 512 units took 0.9 to 1.2 times as long on two
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


def settings_for(typed, ranks, cores):
    """`resolve`d settings, after a look at the environment; `cores` are one rank's."""
    import gymnasium as gym

    from common.envs import kind_of, make_env
    from common.observations import is_image
    gym.logger.min_level = gym.logger.ERROR
    kind = kind_of(typed["env"])
    image = kind == "atari"
    if kind == "other":
        probe = make_env(typed["env"], **typed.get("env_kwargs") or {})
        image = is_image(probe.observation_space) and probe.observation_space.dtype == "uint8"
        probe.close()
    settings = resolve(typed, ranks, kind, typed["env"], image)
    if settings["env_threads"] is None:  # MuJoCo steps without Python's lock; others do not, or may not be safe
        settings["env_threads"] = min(cores, settings["num_envs"]) if kind == "mujoco" else 1
    return settings


def checked_policy_settings(settings):
    """Every setting of the policy, defaults included. UserError if environment and policy do not fit, before anything is written."""
    from common.envs import make_env
    probe = make_env(settings["env"], **settings["env_kwargs"] or {})
    policy = policy_named(settings["policy"])("probe", probe.observation_space, probe.action_space, **settings["policy_settings"])
    probe.close()
    return policy.settings()


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
    env = make_vector_env(settings["env"], settings["num_envs"], comm.rank, folder.path, reward_scale=settings["reward_scale"],
                          **settings["env_kwargs"] or {})
    policy_class = policy_named(settings["policy"])
    running = {}
    logger = None
    if comm.rank == 0:
        logger = Logger([CsvOutput(folder.path / "progress.csv"), JsonOutput(folder.path / "progress.json"), TensorBoardOutput(folder.path / "tb"),
                         Screen(lambda: running["training"].progress, settings["log_interval"])])

    def on_start(training):
        running["training"] = training
        install_signals(training)
        gc.collect()
        gc.freeze()  # TensorFlow's million objects need not be looked through again and again

    try:
        pi = learn(env, lambda name, ob_space, ac_space: policy_class(name, ob_space, ac_space, **settings["policy_settings"]),
                   **{one.name: settings[one.name] for one in fields(ALGORITHMS[settings["alg"]])}, max_timesteps=settings["num_timesteps"] or 0,
                   **{key: settings[key] for key in LIMITS[1:]}, seed=settings["seed"], averaging=settings["averaging"], env_threads=settings["env_threads"],
                   comm=comm, logger=logger, folder=folder, checkpoint=checkpoint, checkpoint_every=settings["checkpoint_every"], on_start=on_start)
    finally:
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


def policy_named(name):
    """MlpPolicy or CnnPolicy."""
    from baselines_ppo import CnnPolicy, MlpPolicy
    return {"mlp": MlpPolicy, "cnn": CnnPolicy}[name]


def install_signals(training):
    """SIGINT and SIGTERM finish the iteration, write a checkpoint and end the run; a second one ends it at once."""
    def handler(number, frame):
        signal.signal(number, signal.default_int_handler)
        training.request_stop(int(number))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


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
