"""`learn(run_dir=..., progress=True)`: a run from Python that leaves a folder as the command line's do, and shows how far it has come."""

import contextlib
import inspect
import platform
import sys
import time
from dataclasses import asdict, fields

import gymnasium as gym

from baselines_ppo.config.config_files import LEARN_FORMAT
from baselines_ppo.config.policy_settings import POLICY_CLASS_NAMES
from baselines_ppo.config.registry import STOP_SETTINGS
from baselines_ppo.config.run_settings import RunSettings
from baselines_ppo.config.settings import ALGORITHMS
from baselines_ppo.experiment.directory import acquire_run_directory
from baselines_ppo.experiment.outputs import in_words, outputs, versions
from common.envs.monitor import Monitor, find_monitor
from common.errors import UserError
from common.loggers.live_display import make_progress_display
from common.loggers.logger import Logger
from common.storage.json_values import split_storable, to_json

KEEP_CHECKPOINTS = 3  # checkpoints
POLICY_NAMES = {class_name: name for name, class_name in POLICY_CLASS_NAMES.items()}


def check(options, comm):
    """Raises UserError, on all ranks, if the `RunOptions` of a run that is to be recorded contradict each other on rank 0."""
    if given := comm.broadcast([name for name in ("logger", "folder") if getattr(options, name) is not None]):
        raise UserError(f"run_dir and progress bring a {given[0]} of their own; leave {given[0]}= out")


def monitored(env):
    """`env` in a Monitor, if it is one environment and has none: a vector environment's are inside."""
    return Monitor(env) if isinstance(env, gym.Env) and find_monitor(env) is None else env


@contextlib.contextmanager
def recorded(training, learner, run_dir, progress):
    """A block in which a `TrainingLoop` goes on, with a run's outputs on rank 0 and the Monitor files of every rank; at its end the policy is written.

    Args:
        training: the `TrainingLoop`.
        learner: the `AlgorithmSetup` that it is of.
        run_dir: the run's folder, the same on all ranks; None for none.
        progress: whether rank 0 shows the live view.

    Raises:
        UserError: on all ranks, if there is a run in the folder, or it cannot be written.
    """
    settings, callbacks = settings_of(learner, run_dir, progress), []
    with contextlib.ExitStack() as closing:
        if run_dir is not None:
            training.folder = acquire_run_directory(run_dir, learner.comm, False, KEEP_CHECKPOINTS)
            closing.callback(training.folder.release)
            for k, monitor in enumerate(training.collector.monitors):
                if isinstance(monitor, Monitor) and monitor.rows is None:
                    monitor.write_to(training.folder.path / f"{learner.comm.rank}.{k}.monitor.csv")
                    closing.callback(monitor.write_to, None)
        if learner.comm.rank == 0:
            if run_dir is not None:
                training.folder.write_config(config_of(learner, settings))
                training.logger, callbacks = outputs(training.folder, settings, {"training": training})
            else:
                training.logger = Logger(
                    [make_progress_display(lambda: training.progress, in_words(settings), settings["log_interval"])]
                )
            training.callbacks += callbacks
            closing.callback(training.logger.close)
        try:
            with training:
                yield training
        except BaseException as error:
            if (kept := training.rescue()) is not None:
                error.add_note(
                    f"what was learned until then is in {kept}, from which load_policy and learn(load_path=...) take it"
                )
            raise


def settings_of(learner, run_dir, progress):
    """{name: value} of all that a command line's run has in its config.json, as far as there is such a thing here; of JSON's own types. Where the
    environment was made with arguments that JSON has no form for, `env_kwargs_lost` is {name: type} of them."""
    spec, limits = getattr(learner.env, "spec", None), asdict(learner.limits)
    kept, lost = split_storable(spec.kwargs) if spec else (None, {})
    own = {
        "env": spec.id if spec else None,
        "env_kwargs": kept,
        **({"env_kwargs_lost": lost} if lost else {}),
        "preset": "learn()",
        "alg": next(name for name, cls in ALGORITHMS.items() if isinstance(learner.settings, cls)),
        "policy": POLICY_NAMES.get(type(learner.pi).__name__, type(learner.pi).__name__),
        "seed": learner.seed,
        "num_envs": learner.num_envs,
        "batch": "per-rank",
        **{name: getattr(learner.options, name) for name in ("averaging", "env_threads", "checkpoint_every")},
        "env_workers": 0,
        "keep_checkpoints": KEEP_CHECKPOINTS,
        "run_dir": run_dir and str(run_dir),
        "quiet": not progress,
        "report": False,
    }
    limits = {name: x for name in STOP_SETTINGS if (x := limits[name.replace("num_", "max_")])}
    own |= limits | asdict(learner.settings) | {"policy_settings": learner.pi.spec()["settings"]}
    found = {one.name: one.default for one in fields(RunSettings)} | own
    return {name: to_json(x, name) for name, x in found.items()}


def config_of(learner, settings):
    """What the run's config.json says: its settings, which of them are not the defaults, and where it comes from."""
    usual = {one.name: one.default for one in fields(learner.settings)}
    usual_of_policy = {name: one.default for name, one in inspect.signature(type(learner.pi)).parameters.items()}
    typed = {name: settings[name] for name in ("env", "policy", "seed", *usual) if settings[name] != usual.get(name)}
    typed |= {name: x for name, x in settings["policy_settings"].items() if x != usual_of_policy.get(name)}
    return {
        "format": LEARN_FORMAT,
        "typed": typed,
        "settings": settings,
        "ranks": learner.comm.size,
        "seed": learner.seed,
        "averaging": learner.averaging_by_group,
        "versions": versions(),
        "argv": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "platform": platform.platform(),
    }
