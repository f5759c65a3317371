"""An environment that fails on one rank at one step: `--env failing_ranks:FailsOnOneRank-v0 --env-kwargs '{"fault": ...}'`."""

import ctypes
import os
import signal
import sys
import time

import gymnasium as gym
import numpy as np

from common.distributed import watchdog
from common.errors import SIGNAL_DEBOUNCE_SECONDS


def rank():
    """Return this process's rank as set by MPICH's launcher."""
    return int(os.environ.get("PMI_RANK", 0))


def hang():
    """Never return, like a simulator that waits for a server."""
    while True:
        time.sleep(3600)


def hang_with_the_lock():
    """Never return, and hold Python's global lock, so that no other Python thread runs."""
    ctypes.PyDLL(None).sleep(3600)


def crash():
    """Cause a segmentation fault, like a simulator in C."""
    ctypes.string_at(0)


def break_down():
    raise RuntimeError("the simulator broke")


def flip():
    """Flip the lowest bit of the first weight of the acting policy, found in the collector's frame."""
    frame = sys._getframe()
    while not hasattr(frame.f_locals.get("self"), "pi"):
        frame = frame.f_back
    weight = frame.f_locals["self"].pi.get_trainable_variables()[0]
    bits = weight.numpy().view(np.uint32)
    bits.flat[0] ^= 1
    weight.assign(bits.view(np.float32))


def interrupt_twice():
    """Send SIGINT twice, as a user does when the first one takes too long."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(SIGNAL_DEBOUNCE_SECONDS + 0.1)
    os.kill(os.getpid(), signal.SIGINT)


FAULTS = {
    "interrupt": lambda: os.kill(os.getpid(), signal.SIGINT),
    "terminate": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "interrupt_twice": interrupt_twice,
    "crash": crash,
    "flip": flip,
    "hang": hang,
    "hang_with_the_lock": hang_with_the_lock,
    "exit": lambda: sys.exit(3),
    "exit at once": lambda: os._exit(4),
    "raise": break_down,
    "raise_and_hang_in_close": break_down,
    "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "none": lambda: None,
    "hang_in_close": lambda: None,
    "hang_in_constructor": lambda: None,
}


class FailsOnOneRank(gym.Env):
    """A walk on a line with episodes of 20 steps.

    `fault` happens at step `at` of `bad_rank`'s environment, or in the method that its name contains.
    """

    observation_space, action_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32), gym.spaces.Discrete(2)

    def __init__(self, fault, bad_rank=0, at=300, render_mode=None):
        self.name = fault if rank() == bad_rank else "none"
        self.at, self.steps, self.render_mode = at, 0, render_mode
        if self.name == "hang_in_constructor":
            watchdog.STARTUP_TIMEOUT = 1.0
            hang()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = 0.0
        return np.array([self.x], np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.steps == self.at:
            FAULTS[self.name]()
        self.x += 2.0 * int(action) - 1.0
        return np.array([self.x], np.float32), float(action), False, self.steps % 20 == 0, {}

    def close(self):
        if self.name.endswith("hang_in_close") and self.steps:
            hang()


gym.register("FailsOnOneRank-v0", entry_point=FailsOnOneRank)
