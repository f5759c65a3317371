"""The process that steps environments for its parent (`common.vec_env.subproc`)."""

from __future__ import annotations

import faulthandler
import multiprocessing.connection
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import gymnasium as gym
import numpy as np

from common.envs.env_checker import from_exception
from common.envs.monitor import Monitor
from common.errors import EnvError, UserError
from common.runtime import os_features
from common.runtime.crash_stacks import stacks as crash_stacks
from common.storage.write_errors import WriteError
from common.vec_env.in_process import CopiedObservations, InProcessVectorEnv
from common.vec_env.mujoco.choice import fast_vector_env

CLOSE_TIMEOUT = 4  # seconds that a worker has to close its environments
# asks a worker for its Python stack; None if the system has no such signal
STACK_DUMP_SIGNAL = next(iter(os_features.signals("SIGUSR2")), None)


def shared_observations(shared: Any, num_envs: int, space: gym.spaces.Box) -> np.ndarray | None:
    """Return the view [num_envs, *shape] of a shared array; None if there is no shared array."""
    if shared is None:
        return None
    size = num_envs * int(np.prod(space.shape))
    return np.frombuffer(shared, space.dtype)[:size].reshape(num_envs, *space.shape)


def worker_main(connection: Connection, stacks: Connection, start: int, end: int, shared: Any) -> None:
    """Run a worker: make environments, then carry out the parent's commands until its end of the pipe is closed.

    Args:
        connection: to the parent. The first message is the function that makes an environment.
        stacks: where the Python stack is written at a `STACK_DUMP_SIGNAL`.
        start, end: numbers of the environments.
        shared: shared array for observations, or None.
    """
    crash_stacks.enable(replace=True)
    if STACK_DUMP_SIGNAL is not None:
        faulthandler.register(STACK_DUMP_SIGNAL, file=stacks.fileno(), all_threads=False)
    threading.Thread(target=exit_with_parent, name="exit with parent", daemon=True).start()
    # launchers and terminals send signals to every process of the job; the parent decides
    for number in os_features.signals("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP"):
        signal.signal(number, signal.SIG_IGN)
    envs: list[gym.Env] = []
    try:
        run_and_reply(connection, make_all, envs, connection, start, end)
        env = fast_vector_env(envs)
        obs = shared_observations(shared, len(envs), env.single_observation_space)
        while True:
            name, *args = connection.recv()
            run_and_reply(connection, COMMANDS[name], env, obs, *args, monitors=env.monitors)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # of the pipe (errors of environments have been sent): the parent has finished, or died
    finally:
        for one in envs:
            one.close()


def exit_with_parent() -> None:
    """End this process `CLOSE_TIMEOUT` seconds after its parent; environments that do not hang are closed by then."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    time.sleep(CLOSE_TIMEOUT)
    os._exit(1)


def run_and_reply(
    connection: Connection, command: Callable[..., Any], *args: Any, monitors: Sequence[Monitor] = ()
) -> None:
    """Run a command, and send its result or exception and ended episodes. Raise EOFError after an exception."""
    value: Any
    try:
        kind, value = "done", command(*args)
    except UserError as error:
        kind, value = "mistake", str(error)
    except WriteError as error:
        kind, value = "cannot write", error
    except EnvError as error:
        kind, value = "fault", error
    except BaseException as error:
        method = "make" if command is make_all else command.__name__
        kind, value = "fault", from_exception(error, method, error.__traceback__)
    connection.send((kind, value, [monitor.take_episodes() for monitor in monitors]))
    if kind != "done":
        raise EOFError


def make_all(envs: list[gym.Env], connection: Connection, start: int, end: int) -> None:
    """Make environments `start` to `end` - 1 with the function that the parent sends, and append them to `envs`."""
    gym.logger.min_level = gym.logger.ERROR
    try:
        (make,) = connection.recv()
    except (AttributeError, ImportError) as error:  # a definition under a script's guard is missing in other processes
        raise UserError(
            f"make cannot be found by another process ({error}); define it at the top of a module, and not under "
            '`if __name__ == "__main__":`'
        ) from error
    envs += [make(k) for k in range(start, end)]


def reset(env: InProcessVectorEnv, obs: np.ndarray | None, seeds: Sequence[int | None], options: dict | None) -> Any:
    """Start new episodes; return their observations, or None if those are in shared memory."""
    first: Any = CopiedObservations(env.num_envs) if obs is None else obs[None]
    for k, seed in enumerate(seeds):
        first[0, k] = env.reset_one(k, seed=seed, options=options)
    return first[0] if obs is None else None


def step(env: InProcessVectorEnv, obs: np.ndarray | None, actions: Any) -> tuple[np.ndarray, list[tuple], Any]:
    """Step every environment; return (rewards [K], ended episodes, observations or None if those are shared)."""
    rew, row = np.empty((1, env.num_envs)), CopiedObservations(env.num_envs) if obs is None else obs[None]
    ended = [
        (k, ob, terminated, truncated) for k, ob, _, terminated, truncated in env.step_into(actions, row, 0, rew, 0)
    ]
    env.write_rewards()
    return rew[0], ended, row[0] if obs is None else None


COMMANDS = {"reset": reset, "step": step}
