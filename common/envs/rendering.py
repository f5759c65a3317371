"""Pictures of environments on machines with and without a display: which OpenGL to ask MuJoCo for, and films small enough for a page."""

import functools
import math
import os
import subprocess
import sys

from common.errors import UserError
from common.hints import NO_WINDOW

FILM_FPS, FILM_SECONDS, FILM_WIDTH = 25, 16, 320
PATIENCE = 20  # seconds for a display, or a renderer, to answer
HINTS = {
    "mujoco": "MuJoCo found neither a display nor a headless OpenGL: apt install libegl1 (or libosmesa6), or whatever brings them on your system",
    "classic": "pip install 'gymnasium[classic-control]'; for Box2D tasks 'gymnasium[box2d]'",
}


# a picture for MuJoCo's eyes: a context of GLFW's can be made, and made current, without there being any
PROBE = """import mujoco
context = mujoco.GLContext(64, 64)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), mujoco.mjtFontScale.mjFONTSCALE_100)"""


def display_named():
    """What names a display here, such as "DISPLAY=:0"; None if nothing does."""
    return next((f"{name}={os.environ[name]}" for name in ("DISPLAY", "WAYLAND_DISPLAY") if os.environ.get(name)), None)


def has_display():
    """Whether a window could be opened here. A display that is named is asked: schedulers, terminal multiplexers and ssh hand on the names of some that
    are gone."""
    if sys.platform in ("darwin", "win32"):
        return True
    return display_named() is not None and _answers(display_named())


@functools.cache
def _answers(display):
    """Whether a display, as `display_named` names it, lets a window be opened; asked once in a process."""
    return exits_cleanly("import sys, glfw; sys.exit(not glfw.init())")


def check_render_mode(mode):
    """Raises UserError for the mode 'human' where there is no display: libraries that open windows crash there, some with the whole process."""
    if mode == "human" and not has_display():
        named = display_named()
        raise UserError(
            f"render_mode='human' opens a window, and {f'{named} does not answer' if named else 'there is no display here'}; {NO_WINDOW}"
        )


def exits_cleanly(code, **environ):
    """Whether Python code ends well in a process of its own: what it says is not heard, its crash is no matter, and it does not wait for ever."""
    try:
        return (
            subprocess.run(
                [sys.executable, "-c", code], env=os.environ | environ, capture_output=True, timeout=PATIENCE
            ).returncode
            == 0
        )
    except subprocess.TimeoutExpired:
        return False


def select_gl_backend():
    """Let MuJoCo render by the first of a display, EGL and OSMesa that works; before MuJoCo is imported. `MUJOCO_GL` is left as it is."""
    if os.environ.get("MUJOCO_GL") or (has_display() and exits_cleanly(PROBE)):
        return
    for name in ("egl", "osmesa"):
        if exits_cleanly(PROBE, MUJOCO_GL=name):
            os.environ["MUJOCO_GL"] = name
            return


def reason_of(error):
    """What an error says, in one line."""
    return " ".join(str(error).split())[:160] or type(error).__name__


def hint(kind, error):
    """One line on why there are no pictures of a kind of environment, and what would bring them."""
    chosen = os.environ.get("MUJOCO_GL") if kind == "mujoco" else None  # by the user, or it would work
    fix = f"MUJOCO_GL is {chosen}: unset it, and one that works here is looked for" if chosen else HINTS.get(kind)
    return f"no picture of this environment ({reason_of(error)}){f'; {fix}' if fix else ''}"


class FrameRecorder:
    """Frames of an episode as they come, thinned to at most `FILM_FPS` a second and cut after `FILM_SECONDS`.

    Args:
        env: made with `render_mode="rgb_array"`.

    Attributes:
        frames: [H, W, 3] uint8 arrays.
        error: why there are none, or None: an environment that cannot be rendered can still be played.
    """

    def __init__(self, env):
        fps = env.metadata.get("render_fps") or 30
        self.env, self.every, self.frames, self.error = env, max(1, math.ceil(fps / FILM_FPS)), [], None
        self.fps = fps / self.every

    def look(self, t):
        """Take a frame, if time step `t` is one of those that are kept."""
        if self.error is None and t % self.every == 0 and len(self.frames) < FILM_SECONDS * self.fps:
            try:
                self.frames.append(self._small(self.env.render()))
            except Exception as error:  # whatever a renderer raises; it is told in one line by whoever wanted the film
                self.error = error

    @staticmethod
    def _small(frame):
        import cv2

        height, width = frame.shape[:2]
        if width <= FILM_WIDTH:
            return frame.copy()  # the next one may be drawn into the same array
        return cv2.resize(frame, (FILM_WIDTH, round(height * FILM_WIDTH / width)), interpolation=cv2.INTER_AREA)

    def write(self, path):
        """Write a .gif."""
        import imageio

        imageio.mimsave(path, self.frames, duration=1000 / self.fps, loop=0)
