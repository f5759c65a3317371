"""Environments in processes of their own: for those whose step keeps Python's lock, as the emulator of Atari's games does. What those
processes do is in `common.vec_env.worker`."""

import multiprocessing
import os
import re
import sys
import threading
import time
from multiprocessing.reduction import ForkingPickler
from multiprocessing.util import Finalize

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from common.envs.monitor import find_monitor
from common.envs.normalization_wrappers import running_statistics
from common.errors import EnvError, UserError
from common.formatting import safe_repr, truncate
from common.hints import RESUME_HINT
from common.runtime.crash_stacks import CRASH_SIGNALS, signal_name
from common.runtime.partition import even_splits
from common.runtime.thread_location import blocked_on
from common.vec_env.in_process import called
from common.vec_env.worker import PATIENCE, STACK_DUMP_SIGNAL, serve, shared_observations

UNGUARDED = 76  # exit status of a process that was to import a script which starts processes of its own


class SubprocVectorEnv(gym.vector.VectorEnv):
    """K environments of one kind in W processes, each of which steps its share: the interface of `InProcessVectorEnv`.

    Observations come back through shared memory where their space is a Box. Workers leave signals to their parent and end when it does,
    however that happens.

    Args:
        make: function (k) -> environment k, or, for None, one that writes no file; a new process must be able to unpickle it.
        num_envs: K.
        workers: W, at most K.

    Raises:
        UserError: what `make` raises; or if a new process cannot import this script, or unpickle `make`.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, make, num_envs, workers):
        check_spawnable(make)
        probe = make(None)
        self.spec, self.render_mode = probe.spec, probe.render_mode
        self.single_observation_space, self.single_action_space = probe.observation_space, probe.action_space
        monitored, self.statistics_inside = find_monitor(probe) is not None, running_statistics(probe)
        probe.close()
        context = multiprocessing.get_context(
            "spawn"
        )  # a fork would take TensorFlow's and MPI's threads and locks along
        ends = even_splits(num_envs, workers)
        self.workers = []
        self._end = Finalize(
            self, terminate_workers, (self.workers,), exitpriority=10
        )  # the interpreter's own end would wait for processes
        for start, end in zip(ends, ends[1:]):
            self.workers.append(Worker(context, make, start, end, self.single_observation_space, monitored))
        for worker in self.workers:
            worker.answer()  # its environments are made
        self.num_envs, self.ends = num_envs, ends
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, num_envs)
        self.monitors = [monitor for worker in self.workers for monitor in worker.monitors]

    def bounds(self, groups):
        """Where groups of environments begin and end that may be stepped by threads of their own: all are one group, and go side by side."""
        return [0, self.num_envs]

    def _shares(self, rows):
        return ((worker, rows[start:end]) for worker, start, end in zip(self.workers, self.ends, self.ends[1:]))

    def reset(self, *, seed=None, options=None):
        """Starts new episodes; `seed` is a list with one seed an environment, or None."""
        for worker, seeds in self._shares(seed or [None] * self.num_envs):
            worker.ask("reset", seeds, options)
        obs = [ob for worker in self.workers for ob in worker.observations(worker.answer())]
        batch = gym.vector.utils.create_empty_array(self.single_observation_space, self.num_envs)
        return gym.vector.utils.concatenate(self.single_observation_space, obs, batch), {}

    def step_into(self, actions, obs, ob_row, rew, rew_row):
        """As `InProcessVectorEnv.step_into`; final infos stay in the workers, and are None."""
        for worker, own in self._shares(actions):
            worker.ask("step", own)
        ended = ()
        for worker, start, end in zip(self.workers, self.ends, self.ends[1:]):
            rew[rew_row, start:end], own_ended, own_obs = worker.answer()
            for k, ob in enumerate(worker.observations(own_obs), start):
                obs[ob_row, k] = ob
            ended = (
                *ended,
                *((start + k, ob, None, terminated, truncated) for k, ob, terminated, truncated in own_ended),
            )
        return ended

    def close_extras(self, **kwargs):
        self._end()


def check_spawnable(make):
    """See to it that a new process, which imports this program's script again, can be started and unpickle `make`.

    Raises:
        UserError: if it cannot.
        SystemExit: in such a process, which is to end: its parent says why.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # as multiprocessing itself finds it out
        raise SystemExit(UNGUARDED)
    try:
        pickled = bytes(ForkingPickler.dumps(make))
    except Exception as error:
        raise UserError(
            f"make is {safe_repr(make)}, which cannot be sent to another process ({truncate(str(error))}); give a function of a module, or a "
            "functools.partial of one"
        ) from error
    main = sys.modules["__main__"]
    script = getattr(main, "__file__", None)
    if getattr(main, "__spec__", None) is None and (not os.path.isfile(script) if script else b"__main__" in pickled):
        raise UserError(
            f"{'this program' if script else 'make'} is from an interactive session or standard input, which another process cannot import; "
            "put it into a file"
        )


class WorkerDiedError(EnvError):
    """A worker's process has died."""


class RemoteTraceback(Exception):
    """Where an exception was raised in another process."""

    def __str__(self):
        return f"\n\n{self.args[0]}"


class RemoteMonitor:
    """The episodes of one environment's `Monitor`, as its worker has told them."""

    def __init__(self):
        self.episodes = []

    def take_episodes(self):
        """The finished episodes [(return, length)] since the last call."""
        taken, self.episodes = self.episodes, []
        return taken


class Worker:
    """One process with environments `start` to `end` - 1, as its parent sees it."""

    def __init__(self, context, make, start, end, space, monitored):
        self.start, self.name = start, f"the process of {called(start, end)}"
        self.num_envs, self.monitors = end - start, [RemoteMonitor() for _ in range(end - start)] if monitored else []
        shared = None
        if isinstance(space, gym.spaces.Box):
            shared = context.RawArray("B", max(1, self.num_envs * int(np.prod(space.shape)) * space.dtype.itemsize))
        self.obs = shared_observations(shared, self.num_envs, space)
        self.connection, theirs = context.Pipe()
        self.stacks, told = context.Pipe(duplex=False)
        self.process = context.Process(target=serve, args=(theirs, told, start, end, shared), daemon=True)
        self.process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        told.close()
        self.ask(make)  # not by `args`: a process that ends before it has read them all would leave this one waiting

    def observations(self, sent):
        """The environments' observations: those sent, or those in shared memory, where the next step writes over them."""
        return sent if self.obs is None else self.obs

    def ask(self, *command):
        """Send a command, the first time `make`; one `answer` must follow."""
        try:
            self.connection.send(command)
        except OSError as error:
            self._died(error)

    def answer(self):
        """What the worker made of the last command, or of its start.

        Raises:
            UserError, WriteError: as it was raised there.
            EnvironmentFault: for any other exception there, whose traceback is the cause.
            WorkerFailed: where the process has died.
        """
        caller = threading.get_ident()
        blocked_on[caller] = self
        try:
            kind, value, episodes = self.connection.recv()
        except (EOFError, OSError) as error:
            self._died(error)
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

    def describe_location(self):
        """Where its process stands, in words. It is asked by a signal, and answers without Python's lock, which a hanging library may have."""
        said = ""
        if STACK_DUMP_SIGNAL is not None:
            os.kill(self.process.pid, STACK_DUMP_SIGNAL)
        if STACK_DUMP_SIGNAL is not None and self.stacks.poll(1):
            time.sleep(0.1)  # it comes in parts
            said = os.read(self.stacks.fileno(), 65_536).decode(errors="replace")
        line = re.search(r'File "(.+)", line (\d+) in (\S+)', said)
        return f"in {self.name} (pid {self.process.pid})" + (f", at {line[1]}:{line[2]} in {line[3]}()" if line else "")

    def _died(self, error):
        self.process.join(PATIENCE)
        status = self.process.exitcode
        if status == UNGUARDED:
            raise UserError(
                f"{getattr(sys.modules['__main__'], '__file__', 'this script')} starts environments in processes of their own, which import it "
                'again; put what it does under `if __name__ == "__main__":`'
            ) from None
        if status is None or status >= 0:
            fault = WorkerDiedError(
                f"has died with status {status}", f"does the environment end its process? {RESUME_HINT}"
            )
        elif -status in CRASH_SIGNALS:
            fault = WorkerDiedError(
                f"has died of signal {signal_name(-status)}",
                f"its stacks are above: mend what crashed, then {RESUME_HINT}",
            )
        else:
            fault = WorkerDiedError(
                f"has died of signal {signal_name(-status)}", f"was it killed, or out of memory? {RESUME_HINT}"
            )
        raise fault.add_context(source=self.name) from error


def terminate_workers(workers):
    """End processes once their environments are closed, all of them at once; those that take longer than `PATIENCE` are killed."""
    for worker in workers:
        worker.connection.close()
    deadline = time.monotonic() + PATIENCE
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        if worker.process.is_alive():
            print(
                f"{called(worker.start, worker.start + worker.num_envs)} did not close in {PATIENCE} s: the process is killed",
                file=sys.stderr,
                flush=True,
            )
            worker.process.kill()
            worker.process.join()
