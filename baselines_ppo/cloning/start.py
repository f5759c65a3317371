"""Demonstrations at the start of a training, on all ranks."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from baselines_ppo.cli.log_messages import lines_to_stdout
from baselines_ppo.cloning.behaviour_cloning import LOGGER, CloningSettings, check_demonstrations, clone
from common.demonstrations.data import Demonstrations
from common.demonstrations.files import load_demonstrations
from common.distributed.communicator import Communicator
from common.envs.factory import env_family
from common.errors import UserError
from common.policies.base import Policy

if TYPE_CHECKING:
    from baselines_ppo.algorithm_setup import AlgorithmSetup
    from baselines_ppo.config.run_settings import RunSettings
    from common.training.loop import TrainingLoop

Source = str | os.PathLike[str] | Demonstrations


def read_for_run(run: RunSettings, pi: Policy, comm: Communicator) -> Source | None:
    """Read and check the demonstrations of a run of the command line on rank 0. Collective.

    Rewards become those that the run's training uses: scaled by `reward_scale`, and Atari's clipped.

    Args:
        run: its settings.
        pi: a probe of its policy.
        comm: the ranks.

    Returns:
        The demonstrations on rank 0, their name on other ranks; None if there are none.

    Raises:
        UserError: on all ranks, if they cannot be read, or do not fit the environment.
    """
    if run.demonstrations is None:
        return None
    found: list[Demonstrations] = []

    def read() -> None:
        data = load_demonstrations(run.demonstrations)
        check_demonstrations(data, pi)
        if data.has_returns:
            rewards = data.entries["rewards"]
            rewards = np.sign(rewards) if env_family(run.env) == "atari" else rewards
            data = data.with_rewards(rewards * run.reward_scale)
        found.append(data)

    comm.run_on_root(read)
    return found[0] if found else run.demonstrations


def start_from_demonstrations(setup: AlgorithmSetup[Any], training: TrainingLoop) -> None:
    """Clone on rank 0, and set the return scale on all ranks; the caller sends the policy. Collective.

    Args:
        setup: of the training; rank 0's `demonstrations` are used.
        training: its heartbeat counts the epochs.

    Raises:
        UserError: on all ranks, as `load_demonstrations` and `clone`.
    """
    comm, normalizer, heartbeat = setup.comm, setup.reward_normalizer, training.heartbeat
    heartbeat.set_phase("demonstrations", 0)

    def count_epoch() -> None:
        heartbeat.step += 1

    error: UserError | None = None
    if comm.rank == 0:
        try:
            with lines_to_stdout(LOGGER) if setup.options.progress else contextlib.nullcontext():
                data = load_demonstrations(setup.options.demonstrations)
                clone(setup.pi, data, cloning_settings(setup), normalizer, count_epoch)
        except UserError as caught:
            error = caught
    comm.barrier()  # the other ranks sleep here; in a broadcast they would keep their cores busy

    def scale() -> dict[str, np.ndarray] | None:
        if error is not None:
            raise error
        return None if normalizer is None else normalizer.state()

    state = comm.run_on_root(scale)
    if normalizer is not None and state is not None:
        normalizer.restore(state)


def cloning_settings(setup: AlgorithmSetup[Any]) -> CloningSettings:
    """Return how a training clones its demonstrations."""
    options, settings = setup.options, setup.settings
    return CloningSettings(
        epochs=options.demonstration_epochs,
        stepsize=options.demonstration_stepsize,
        gamma=settings.gamma,
        bootstrap_time_limits=settings.bootstrap_time_limits,
        fits_value=getattr(settings, "baseline", "value") == "value",
        seed=setup.seed,
    )
