"""What a process does that steps environments for its parent (`common.vec_env.subproc`)."""

import faulthandler
import multiprocessing.connection
import os
import signal
import threading
import time

import gymnasium as gym
import numpy as np

from common.envs.env_checker import raised
from common.errors import EnvError, UserError
from common.runtime import os_features
from common.runtime.crash_stacks import stacks as crash_stacks
from common.storage.write_errors import WriteError
from common.vec_env.in_process import Copies, InProcessVectorEnv

PATIENCE = 4  # seconds that it is given to close its environments
STACK_DUMP_SIGNAL = next(
    iter(os_features.signals("SIGUSR2")), None
)  # asks it where it stands; None where there is no such signal


def shared_observations(shared, num_envs, space):
    """[num_envs, *shape] in a shared array; None without one."""
    return (
        None
        if shared is None
        else np.frombuffer(shared, space.dtype)[: num_envs * int(np.prod(space.shape))].reshape(num_envs, *space.shape)
    )


def serve(connection, stacks, start, end, shared):
    """Make environments by the function that the parent sends first, and do as it says until its end of the pipe is closed; for `STACK_DUMP_SIGNAL` tell `stacks`
    where this process stands."""
    crash_stacks.enable(replace=True)
    if STACK_DUMP_SIGNAL is not None:
        faulthandler.register(STACK_DUMP_SIGNAL, file=stacks.fileno(), all_threads=False)
    threading.Thread(target=exit_with_parent, name="end after parent", daemon=True).start()
    for number in os_features.signals(
        "SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP"
    ):  # a launcher or a terminal sends them to all: the parent decides
        signal.signal(number, signal.SIG_IGN)
    envs = []
    try:
        tell(connection, make_all, envs, connection, start, end)
        env = InProcessVectorEnv(envs)
        obs = shared_observations(shared, len(envs), env.single_observation_space)
        while True:
            name, *words = connection.recv()
            tell(connection, COMMANDS[name], env, obs, *words, monitors=env.monitors)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # of the pipe, for what environments raise has been told: the parent is done, or dead
    finally:
        for one in envs:
            one.close()


def exit_with_parent():
    """End this process some seconds after its parent, in which its environments are closed, if they do not hang."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    time.sleep(PATIENCE)
    os._exit(1)


def tell(connection, command, *words, monitors=()):
    """Send the parent what a command gives, or raises, and the episodes that it ended. After an exception this process ends."""
    try:
        kind, value = "done", command(*words)
    except UserError as error:
        kind, value = "mistake", str(error)
    except WriteError as error:
        kind, value = "cannot write", error
    except EnvError as error:
        kind, value = "fault", error
    except BaseException as error:
        kind, value = "fault", raised(error, "make" if command is make_all else command.__name__, error.__traceback__)
    connection.send((kind, value, [monitor.take_episodes() for monitor in monitors]))
    if kind != "done":
        raise EOFError


def make_all(envs, connection, start, end):
    """Make environments `start` to `end` - 1 into a list, by the function that comes through the pipe."""
    gym.logger.min_level = gym.logger.ERROR
    try:
        (make,) = connection.recv()
    except (
        AttributeError,
        ImportError,
    ) as error:  # what is defined under the guard of a script is not there when another process imports it
        raise UserError(
            f"make cannot be found by another process ({error}); define it at the top of a module, and not under "
            '`if __name__ == "__main__":`'
        ) from error
    envs += [make(k) for k in range(start, end)]


def reset(env, obs, seeds, options):
    """New episodes; their observations, or None where they are in shared memory."""
    first = Copies(env.num_envs) if obs is None else obs[None]
    for k, seed in enumerate(seeds):
        first[0, k] = env.first(k, seed=seed, options=options)
    return first[0] if obs is None else None


def step(env, obs, actions):
    """(rewards [K], what ended, observations or None where they are in shared memory)."""
    rew, row = np.empty((1, env.num_envs)), Copies(env.num_envs) if obs is None else obs[None]
    ended = [
        (k, ob, terminated, truncated) for k, ob, _, terminated, truncated in env.step_into(actions, row, 0, rew, 0)
    ]
    return rew[0], ended, row[0] if obs is None else None


COMMANDS = {"reset": reset, "step": step}
