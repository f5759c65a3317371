"""What rank 0 says, writes and draws of a run: none of it changes a bit of the training."""

import contextlib
import importlib.metadata
import platform
import subprocess
import sys

from baselines_ppo.cli.command_lines import play_command, report_command, resume_command
from baselines_ppo.config.combinations import describe_length, stagger_conflict, unused_settings
from baselines_ppo.config.presets import PRESETS
from baselines_ppo.config.registry import RESUME_FREE
from baselines_ppo.config.resolved_config import ResolvedConfig
from baselines_ppo.config.settings import ALGORITHMS
from common.distributed.launcher import subprocess_env
from common.errors import UserError
from common.runs.results import Run
from common.runtime.crash_stacks import signal_name
from common.storage.write_errors import raises_write_error

PATIENCE = 600  # seconds for the report and its film
PACKAGES = (
    "baselines_ppo",
    "tensorflow",
    "tensorflow-probability",
    "gymnasium",
    "mujoco",
    "ale-py",
    "mpi4py",
    "mpich",
    "numpy",
)


def versions():
    """Installed versions of what a result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def print_run_header(settings, typed, comm, previous, checkpoint, skipped_checkpoints):
    """Say what is about to happen, in a few lines."""
    from baselines_ppo.experiment.callbacks import interval_warnings

    resolved = ResolvedConfig.from_dict(settings, typed)
    ranks = f"{comm.size} ranks" if comm.size > 1 else "1 rank"
    steps, rows = ALGORITHMS[settings["alg"]].counts()
    how = f"{settings['alg']} ({settings['objective']})" if "objective" in settings else settings["alg"]
    print(
        f"{settings['env']}: {how}, preset {settings['preset']}, {settings['policy']} policy, "
        f"seed {settings['seed']}, {ranks}"
    )
    print(
        f"per rank: {settings['num_envs']} env, segments of {settings[steps]} steps, "
        f"minibatches of {settings[rows] or 'all'}  ->  {settings['run_dir']}"
    )
    if settings["load_path"] and checkpoint is None:
        print(
            f"starts from the policy in {settings['load_path']}: its weights and observation filter; Adam, return scale and counters start afresh"
        )
    if (
        PRESETS[settings["preset"]].stagger
        and not settings["stagger"]
        and "stagger" not in typed
        and (why := stagger_conflict(resolved.algorithm))
    ):
        print(f"preset {settings['preset']} would end first episodes early (--stagger); not with {why[0]}: {why[1]}")
    for name, what in unused_settings(resolved):
        print(f"{name} has no effect here: it requires {what}")
    for line in interval_warnings(settings, comm.size):
        print(line)
    if settings[steps] == 1 and settings.get("standardise_adv", True) and not settings.get("whole_episodes"):
        print(
            "one step a segment: its only advantage is 0 once it is standardised, so the policy learns nothing; make segments longer"
        )
    if previous is not None:
        for path, wrong in skipped_checkpoints.items():
            print(f"resume: passed over a checkpoint: {wrong}; kept as {path.name}.damaged")
        start = f"goes on from {checkpoint[2].name}" if checkpoint else "has no checkpoint yet: starts afresh"
        print(f"resume: {start}")
        if checkpoint and checkpoint[1]["forced"]:
            print(
                "resume: it is a forced one: nothing is lost, but an undisturbed run would not have cut its episodes here"
            )
        for key in RESUME_FREE:
            if key in typed and typed[key] != previous["settings"].get(key):
                print(f"resume: {key} is now {typed[key]}, was {previous['settings'].get(key)}")
        if changed := {
            name for name, version in versions().items() if version != previous.get("versions", {}).get(name)
        }:
            print(
                f"resume: other versions than before of {', '.join(sorted(changed))}: the result may differ in its last bits"
            )
    if "num_timesteps" in typed or checkpoint:
        for line in describe_length(resolved, comm.size, checkpoint and checkpoint[1]["counters"]):
            print(line)


def outputs(folder, settings, running):
    """Rank 0's (logger, callbacks): everything that is written or shown as the run goes, none of which changes a bit of it.

    Args:
        running: a dict that holds the `TrainingLoop` under "training" by the time the first row is written; the screen, where there is one, is put
            under "screen".
    """
    from baselines_ppo.experiment.callbacks import (
        BestPolicy,
        EvalCallback,
        HistogramCallback,
        SaveBestCallback,
        SavePolicyCallback,
    )
    from common.envs.factory import make_env
    from common.loggers.live_display import make_progress_display
    from common.loggers.logger import CsvOutput, JsonOutput, Logger
    from common.loggers.tensorboard import TensorBoardOutput

    path, tensorboard = folder.path, TensorBoardOutput(folder.path / "tb")
    tensorboard.hyperparameters(settings)
    shown = []
    if not settings["quiet"]:
        running["screen"] = make_progress_display(
            lambda: running["training"].progress, in_words(settings), settings["log_interval"]
        )
        shown = [running["screen"]]
    by = f"{settings['eval_episodes']} deterministic episodes" if settings["eval_every"] else "EpRewMean"
    best = BestPolicy(path, by, **environment_of(settings))
    if settings["eval_every"]:

        def evaluations_logger():
            with raises_write_error(path):
                folder.verify_ownership()  # it may have been taken away since the run began
            return Logger([CsvOutput(path / "evaluations.csv"), tensorboard.another()])

        keeper = EvalCallback(
            lambda: make_env(settings["env"], training=False, env_kwargs=settings["env_kwargs"]),
            settings["eval_every"],
            settings["eval_episodes"],
            evaluations_logger,
            best,
        )
    else:
        keeper = SaveBestCallback(best)
    return (
        Logger([CsvOutput(path / "progress.csv"), JsonOutput(path / "progress.json"), tensorboard, *shown]),
        [
            SavePolicyCallback(lambda pi: save_policy(pi, folder, settings)),
            keeper,
            *([HistogramCallback(tensorboard)] if settings["histograms"] else []),
        ],
    )


def in_words(settings):
    """How long a run is, behind the number of its steps."""
    if settings["num_timesteps"]:
        return f" of {settings['num_timesteps']:,} steps"
    return " steps" + "".join(
        f" of {settings[key]:,} {word}"
        for key, word in (("max_episodes", "episodes"), ("max_iters", "iterations"), ("max_seconds", "seconds"))
        if settings[key]
    )


def draw_report(folder, settings):
    """curve.png, report.html and, where it was asked for, a film: by a process of its own, whose failure is told and is not the run's."""
    words = [sys.executable, "-m", "baselines_ppo.report", str(folder.path), *(["--film"] if settings["film"] else [])]
    again = f"draw it by: {report_command(folder.path)}"
    done = None
    try:
        done = subprocess.run(words, capture_output=True, text=True, env=subprocess_env(), timeout=PATIENCE)
        lines = done.stderr.splitlines()[-1 if done.returncode else 0 :]
        if done.returncode < 0:
            lines = [f"not drawn: died of signal {signal_name(-done.returncode)}; {again}"]
        elif done.returncode and not lines:
            lines = [f"not drawn: ended with status {done.returncode}; {again}"]
    except (KeyboardInterrupt, OSError, subprocess.TimeoutExpired) as error:
        why = "interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__
        lines = [f"not drawn ({why}); {again}"]
    for line in lines:
        print(f"report: {line.removeprefix('baselines_ppo.report: ')}", file=sys.stderr, flush=True)
    if done is not None and done.returncode == 0 and not settings["quiet"]:
        print(f"report: {folder.path / 'report.html'}", flush=True)


def environment_of(settings):
    """What a policy's file says of the environment that it was trained in."""
    return {name: settings[name] for name in ("env", "env_kwargs", "env_kwargs_lost") if name in settings}


def save_policy(pi, folder, settings):
    """`policy/policy.safetensors` in the run's folder, and where else it was asked for."""
    path = folder.path / "policy" / "policy.safetensors"
    with raises_write_error(path):
        folder.verify_ownership()
        path.parent.mkdir(exist_ok=True)
    extra = environment_of(settings)
    pi.save(path, **extra)
    if settings["save_policy"]:
        pi.save(settings["save_policy"], **extra)


def final_return(training, folder):
    """The mean return of the last episodes, in the order in which they ended: the number that report, plot and sweep have. `rewbuffer` takes the
    episodes of an iteration rank by rank, which no clock decides; it is the answer where the Monitor files have none."""
    curve = None
    with contextlib.suppress(UserError):
        curve = Run(folder.path).curve
    return sum(training.rewbuffer) / len(training.rewbuffer) if curve is None else curve.final(len(training.rewbuffer))


def print_run_summary(training, folder, settings, ranks, status):
    """The run's last lines; of a quiet one that a signal has stopped, how to go on with it."""
    go_on = f"go on with: {resume_command(folder.path, ranks)}" if training.progress < 1 else None
    if settings["quiet"]:
        if status and go_on:
            print(
                f"run.py: stopped early, at {training.timesteps_so_far:,} steps; {go_on}", file=sys.stderr, flush=True
            )
        return
    if training.rewbuffer:
        print(
            f"mean return of the last {len(training.rewbuffer)} training episodes: {final_return(training, folder):.6g}"
        )
    print(f"{training.timesteps_so_far:,} steps in {training.elapsed:.0f} s  ->  {folder.path}")
    if go_on:
        print(f"stopped early; {go_on}")
    print(f"watch it: {play_command(folder.path)}")
