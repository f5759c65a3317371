"""`run.py` without `--play`: from the command line to the start of TensorFlow. Every rank goes through here."""

from __future__ import annotations

import argparse
import gc
import traceback
from typing import Any

from baselines_ppo.cli.errors import print_error
from baselines_ppo.cli.log_messages import messages_to_stderr
from baselines_ppo.config.run_settings import RunSettings
from baselines_ppo.experiment.setup import cores_per_rank
from baselines_ppo.train.plan import plan_run, print_config
from baselines_ppo.train.session import TrainingSession
from common.diagnostics.replica_check import ReplicaDivergenceError
from common.distributed import communicator
from common.errors import EnvError, UserError
from common.runtime import compilation_cache
from common.runtime.tf_import import import_tensorflow
from common.storage.write_errors import WriteError


def run(explicit: dict[str, Any], args: argparse.Namespace) -> int:
    """Train with the given settings and flags, on every rank; returns the exit status."""
    try:
        comm = communicator.world()
    except UserError as error:
        print_error(error)
        return 2
    session = TrainingSession(comm, explicit.get("stall_timeout", RunSettings.stall_timeout))
    with messages_to_stderr(session.format_message):
        return run_session(explicit, args, session)


def run_session(explicit: dict[str, Any], args: argparse.Namespace, session: TrainingSession) -> int:
    """Train, report a failure and end the session; returns the exit status."""
    try:
        return train(explicit, args, session)
    except UserError as error:
        return session.fail(error, status=2)
    except KeyboardInterrupt:
        return session.fail("interrupted", status=130)
    except WriteError as error:
        return session.fail("; ".join([str(error), *getattr(error, "__notes__", ())]), status=1)
    except (EnvError, FloatingPointError, ReplicaDivergenceError) as error:
        return session.fail(error, status=1, trace=getattr(error, "trace", None))
    except BaseException as error:
        return session.fail(f"{type(error).__name__}: {error}", status=1, trace=traceback.format_exc())
    finally:
        session.end()
        gc.unfreeze()  # otherwise ALE's objects are never freed, and its bindings report that in twenty lines


def train(explicit: dict[str, Any], args: argparse.Namespace, session: TrainingSession) -> int:
    """Resolve the settings, start TensorFlow and train on this rank; returns the exit status."""
    cores = cores_per_rank(session.comm)
    plan = plan_run(explicit, args, session.comm, cores)
    if args.print_config:
        if session.comm.rank == 0:
            print_config(plan.config, session.comm.size)
        return 0
    session.watchdog.timeout = plan.config.run.stall_timeout
    start_tensorflow(plan.config.run.policy, cores)
    from baselines_ppo.train.learn_run import learn_run  # imports TensorFlow

    return learn_run(plan, session)


def start_tensorflow(policy: str, cores: int) -> None:
    """Import TensorFlow with a suitable number of threads.

    A CNN uses all cores. An MLP uses one thread, because minibatch updates of 64 to 512 units took 0.9 to 1.2 times as
    long on two.

    Args:
        policy: 'mlp' or 'cnn'.
        cores: number of cores of this rank.
    """
    compilation_cache.enable()
    is_cnn = policy == "cnn"
    import_tensorflow(threads=cores if is_cnn else 1, onednn=is_cnn, operations=min(2, cores) if is_cnn else 1)
