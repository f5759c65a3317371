"""Environments in worker processes, for those whose step holds Python's lock, such as Atari's emulator.

The worker's side is `common.vec_env.worker`.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.reduction import ForkingPickler
from multiprocessing.util import Finalize
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from common.envs.action_masks import mask_source
from common.envs.monitor import find_monitor
from common.envs.normalization_wrappers import running_statistics
from common.errors import EnvError, UserError
from common.formatting import safe_repr, truncate
from common.hints import RESUME_HINT
from common.runtime.crash_stacks import CRASH_SIGNALS, signal_name
from common.runtime.partition import even_splits
from common.runtime.thread_location import blocked_on
from common.vec_env.in_process import env_range_label
from common.vec_env.worker import CLOSE_TIMEOUT, STACK_DUMP_SIGNAL, shared_observations, worker_main

UNGUARDED_STATUS = 76  # exit status of a process that imported a script which starts processes itself


class SubprocVectorEnv(gym.vector.VectorEnv):
    """K environments of one kind in W processes, with the interface of `InProcessVectorEnv`.

    Observations of a Box come back through shared memory. Workers ignore signals, and exit when their parent does.

    Args:
        make: function (k) -> environment k; for k=None one that writes no file. A new process must be able to unpickle
            it.
        num_envs: K.
        workers: W, at most K.

    Raises:
        UserError: raised by `make`; or if a new process cannot import this script or unpickle `make`.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, make: Callable[[int | None], gym.Env], num_envs: int, workers: int) -> None:
        check_spawnable(make)
        probe = make(None)
        self.spec, self.render_mode = probe.spec, probe.render_mode
        self.single_observation_space, self.single_action_space = probe.observation_space, probe.action_space
        has_monitor = find_monitor(probe) is not None
        self.statistics_inside = running_statistics(probe)
        self.gives_masks = mask_source(probe, look=False) is not None
        probe.close()
        context = multiprocessing.get_context("spawn")  # a fork would copy locks of TensorFlow's and MPI's threads
        ends = even_splits(num_envs, workers)
        self.workers: list[Worker] = []
        # without it the interpreter's exit would wait for the processes
        self._terminate = Finalize(self, terminate_workers, (self.workers,), exitpriority=10)
        for start, end in zip(ends, ends[1:]):
            self.workers.append(Worker(context, make, start, end, self.single_observation_space, has_monitor))
        for worker in self.workers:
            worker.receive()  # its environments exist
        self.num_envs, self.ends = num_envs, ends
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, num_envs)
        self.monitors = [monitor for worker in self.workers for monitor in worker.monitors]

    def bounds(self, groups: int) -> list[int]:
        """Return the bounds of groups that threads may step: one group, because workers run in parallel anyway."""
        return [0, self.num_envs]

    def _by_worker(self, rows: Sequence[Any]) -> Iterator[tuple[Worker, Any]]:
        return ((worker, rows[start:end]) for worker, start, end in zip(self.workers, self.ends, self.ends[1:]))

    def reset(self, *, seed: Sequence[int] | None = None, options: dict | None = None) -> tuple[Any, dict]:
        """Start new episodes. `seed` has one seed per environment, or is None."""
        for worker, seeds in self._by_worker(seed or [None] * self.num_envs):
            worker.send("reset", seeds, options)
        obs = [ob for worker in self.workers for ob in worker.observations(worker.receive())]
        batch = gym.vector.utils.create_empty_array(self.single_observation_space, self.num_envs)
        return gym.vector.utils.concatenate(self.single_observation_space, obs, batch), {}

    def step_into(self, actions: Any, obs: Any, ob_row: int, rew: np.ndarray, rew_row: int) -> Sequence[tuple]:
        """`InProcessVectorEnv.step_into`; final infos stay in the workers, and are None here."""
        for worker, own in self._by_worker(actions):
            worker.send("step", own)
        ended: tuple = ()
        for worker, start, end in zip(self.workers, self.ends, self.ends[1:]):
            rew[rew_row, start:end], worker_ended, worker_obs = worker.receive()
            for k, ob in enumerate(worker.observations(worker_obs), start):
                obs[ob_row, k] = ob
            ends = ((start + k, ob, None, terminated, truncated) for k, ob, terminated, truncated in worker_ended)
            ended = (*ended, *ends)
        return ended

    def write_rewards(self) -> None:
        """`InProcessVectorEnv.write_rewards`: nothing, because workers send the rewards of every step."""

    def close_extras(self, **kwargs: Any) -> None:
        """End the workers."""
        self._terminate()


def check_spawnable(make: Callable[..., Any]) -> None:
    """Check that a new process, which imports this program's script again, can start and unpickle `make`.

    Raises:
        UserError: if it cannot.
        SystemExit: inside such a process; its parent reports the reason.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # as multiprocessing itself detects it
        raise SystemExit(UNGUARDED_STATUS)
    try:
        pickled = bytes(ForkingPickler.dumps(make))
    except Exception as error:
        raise UserError(
            f"make is {safe_repr(make)}, which another process cannot receive ({truncate(str(error))}); use a "
            "function of a module, or a functools.partial of one"
        ) from error
    main = sys.modules["__main__"]
    script = getattr(main, "__file__", None)
    if getattr(main, "__spec__", None) is None and (not os.path.isfile(script) if script else b"__main__" in pickled):
        raise UserError(
            f"{'this program' if script else 'make'} is from an interactive session or standard input, which another "
            "process cannot import; put it into a file"
        )


class WorkerDiedError(EnvError):
    """A worker process died."""


class RemoteTraceback(Exception):
    """Traceback of an exception in another process."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


class RemoteMonitor:
    """The episodes of an environment's `Monitor` in a worker."""

    def __init__(self) -> None:
        self.episodes: list[tuple[float, int]] = []

    def take_episodes(self) -> list[tuple[float, int]]:
        """Return the episodes [(return, length)] that ended since the last call."""
        taken, self.episodes = self.episodes, []
        return taken


class Worker:
    """The parent's side of one worker process, with environments `start` to `end` - 1.

    Args:
        context: multiprocessing context.
        make: as for `SubprocVectorEnv`.
        start, end: numbers of the environments.
        space: their observation space.
        has_monitor: whether each environment has a `Monitor`.
    """

    def __init__(
        self, context: Any, make: Callable[..., Any], start: int, end: int, space: gym.Space, has_monitor: bool
    ) -> None:
        self.start = start
        self.num_envs = end - start
        self.name = f"the process of {env_range_label(start, end)}"
        self.monitors = [RemoteMonitor() for _ in range(self.num_envs)] if has_monitor else []
        shared = None
        if isinstance(space, gym.spaces.Box):
            shared = context.RawArray("B", max(1, self.num_envs * int(np.prod(space.shape)) * space.dtype.itemsize))
        self.obs = shared_observations(shared, self.num_envs, space)
        self.connection, theirs = context.Pipe()
        self.stacks, stacks_end = context.Pipe(duplex=False)
        arguments = (theirs, stacks_end, start, end, shared)
        self.process = context.Process(target=worker_main, args=arguments, daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe ends with the process
        stacks_end.close()
        # not among the arguments: if the process died before it had read all of them, this one would wait forever
        self.send(make)

    def observations(self, sent: Any) -> Any:
        """Return the environments' observations: `sent`, or the shared memory, which the next step overwrites."""
        return sent if self.obs is None else self.obs

    def send(self, *command: Any) -> None:
        """Send a command; first of all `make`. One `receive` must follow."""
        try:
            self.connection.send(command)
        except OSError as error:
            self._raise_died(error)

    def receive(self) -> Any:
        """Return the result of the last command, or of the start.

        Raises:
            UserError, WriteError: raised in the worker.
            EnvError: for any other exception in the worker; its traceback is the cause.
            WorkerDiedError: if the process died.
        """
        caller = threading.get_ident()
        blocked_on[caller] = self
        try:
            kind, value, episodes = self.connection.recv()
        except (EOFError, OSError) as error:
            self._raise_died(error)
        finally:
            del blocked_on[caller]
        for monitor, finished in zip(self.monitors, episodes):
            monitor.episodes += finished
        if kind == "mistake":
            raise UserError(value)
        if kind == "cannot write":
            raise value
        if kind == "fault":
            value.offset_environment(self.start)
            if value.environment is None:
                value.add_context(source=self.name)
            raise value from (RemoteTraceback(value.trace) if value.trace else None)
        return value

    def describe_location(self) -> str:
        """Return where the process is, as text.

        A signal asks it, and faulthandler answers without Python's lock, which a library that hangs may hold.
        """
        dump = ""
        if STACK_DUMP_SIGNAL is not None:
            os.kill(self.process.pid, STACK_DUMP_SIGNAL)
        if STACK_DUMP_SIGNAL is not None and self.stacks.poll(1):
            time.sleep(0.1)  # it arrives in parts
            dump = os.read(self.stacks.fileno(), 65_536).decode(errors="replace")
        line = re.search(r'File "(.+)", line (\d+) in (\S+)', dump)
        return f"in {self.name} (pid {self.process.pid})" + (f", at {line[1]}:{line[2]} in {line[3]}()" if line else "")

    def _raise_died(self, error: BaseException) -> NoReturn:
        self.process.join(CLOSE_TIMEOUT)
        status = self.process.exitcode
        if status == UNGUARDED_STATUS:
            script = getattr(sys.modules["__main__"], "__file__", "this script")
            raise UserError(
                f"{script} starts environments in separate processes, which import it again; put its code under "
                '`if __name__ == "__main__":`'
            ) from None
        if status is None or status >= 0:
            what, hint = f"exited with status {status}", "does the environment end its process?"
        elif -status in CRASH_SIGNALS:
            what, hint = f"died of signal {signal_name(-status)}", "its stacks are above: fix the crash, then"
        else:
            what, hint = f"died of signal {signal_name(-status)}", "was it killed, or out of memory?"
        raise WorkerDiedError(what, f"{hint} {RESUME_HINT}").add_context(source=self.name) from error


def terminate_workers(workers: Sequence[Worker]) -> None:
    """End all workers in parallel after their environments are closed; kill those that exceed `CLOSE_TIMEOUT`."""
    for worker in workers:
        worker.connection.close()
    deadline = time.monotonic() + CLOSE_TIMEOUT
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        if worker.process.is_alive():
            label = env_range_label(worker.start, worker.start + worker.num_envs)
            print(f"{label} did not close within {CLOSE_TIMEOUT} s: killing the process", file=sys.stderr, flush=True)
            worker.process.kill()
            worker.process.join()
