"""Renders environments with and without a display: chooses MuJoCo's OpenGL backend, and records small videos."""

from __future__ import annotations

import functools
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from common.errors import UserError
from common.hints import NO_WINDOW

FILM_FPS, FILM_SECONDS, FILM_WIDTH = 25, 16, 320
PROBE_TIMEOUT = 20  # seconds that a display or a renderer has to answer
HINTS = {
    "mujoco": "MuJoCo found neither a display nor a headless OpenGL: apt install libegl1 (or libosmesa6), or the "
    "packages of your system that contain them",
    "classic": "pip install 'gymnasium[classic-control]'; for Box2D tasks 'gymnasium[box2d]'",
}


# Renders with MuJoCo itself: GLFW can create a context, and make it current, even if rendering is impossible.
PROBE = """import mujoco
context = mujoco.GLContext(64, 64)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), mujoco.mjtFontScale.mjFONTSCALE_100)"""


def display_named() -> str | None:
    """Return the environment variable that names a display, such as "DISPLAY=:0"; None if there is none."""
    return next((f"{name}={os.environ[name]}" for name in ("DISPLAY", "WAYLAND_DISPLAY") if os.environ.get(name)), None)


def has_display() -> bool:
    """Whether a window can be opened.

    A named display is tested, because schedulers, terminal multiplexers and ssh forward names of displays that no
    longer exist.
    """
    if sys.platform in ("darwin", "win32"):
        return True
    display = display_named()
    return display is not None and _display_answers(display)


@functools.cache
def _display_answers(display: str) -> bool:
    """Whether a display opens windows. Tested once per process and display."""
    return exits_cleanly("import sys, glfw; sys.exit(not glfw.init())")


def check_render_mode(mode: str | None) -> None:
    """Raise UserError for the mode 'human' without a display, where some libraries crash the whole process."""
    if mode == "human" and not has_display():
        named = display_named()
        why = f"{named} does not answer" if named else "there is no display here"
        raise UserError(f"render_mode='human' opens a window, and {why}; {NO_WINDOW}")


def exits_cleanly(code: str, **environ: str) -> bool:
    """Whether Python code exits with status 0 in a separate process. Its output is discarded; it may crash or hang."""
    try:
        return (
            subprocess.run(
                [sys.executable, "-c", code], env=os.environ | environ, capture_output=True, timeout=PROBE_TIMEOUT
            ).returncode
            == 0
        )
    except subprocess.TimeoutExpired:
        return False


def select_gl_backend() -> None:
    """Make MuJoCo render with the first of a display, EGL and OSMesa that works.

    Call it before MuJoCo is imported. A `MUJOCO_GL` that is set is kept.
    """
    if os.environ.get("MUJOCO_GL") or (has_display() and exits_cleanly(PROBE)):
        return
    for name in ("egl", "osmesa"):
        if exits_cleanly(PROBE, MUJOCO_GL=name):
            os.environ["MUJOCO_GL"] = name
            return


def reason_of(error: BaseException) -> str:
    """Return an error's message as one line."""
    return " ".join(str(error).split())[:160] or type(error).__name__


def hint(kind: str, error: BaseException) -> str:
    """Return one line on why a kind of environment cannot be rendered, and how to fix it."""
    chosen = os.environ.get("MUJOCO_GL") if kind == "mujoco" else None  # set by the user
    fix = f"MUJOCO_GL is {chosen}: unset it to select a working backend" if chosen else HINTS.get(kind)
    return f"this environment cannot be rendered ({reason_of(error)}){f'; {fix}' if fix else ''}"


class FrameRecorder:
    """Records the frames of an episode, at most `FILM_FPS` per second and for at most `FILM_SECONDS`.

    Args:
        env: made with `render_mode="rgb_array"`.

    Attributes:
        frames: [H, W, 3] uint8 arrays.
        error: why there are none, or None. An environment that cannot be rendered can still be played.
    """

    def __init__(self, env: gym.Env) -> None:
        fps = env.metadata.get("render_fps") or 30
        self.env = env
        self.every = max(1, math.ceil(fps / FILM_FPS))
        self.fps = fps / self.every
        self.frames: list[np.ndarray] = []
        self.error: Exception | None = None

    def capture(self, t: int) -> None:
        """Record a frame, if time step `t` is one of those that are kept."""
        if self.error is None and t % self.every == 0 and len(self.frames) < FILM_SECONDS * self.fps:
            try:
                self.frames.append(self._small(self.env.render()))
            except Exception as error:  # of the renderer; the caller reports it in one line
                self.error = error

    @staticmethod
    def _small(frame: Any) -> np.ndarray:
        import cv2

        height, width = frame.shape[:2]
        if width <= FILM_WIDTH:
            return frame.copy()  # the environment may render the next one into the same array
        return cv2.resize(frame, (FILM_WIDTH, round(height * FILM_WIDTH / width)), interpolation=cv2.INTER_AREA)

    def write(self, path: Path) -> None:
        """Write a .gif."""
        import imageio

        imageio.mimsave(path, self.frames, duration=1000 / self.fps, loop=0)
