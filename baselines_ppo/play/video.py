"""Films of a policy's episodes, drawn in a process of their own.

The process that plays records its actions; another, without TensorFlow, plays them again and takes the pictures. Mesa's OpenGL and TensorFlow
crash in one process, whichever comes first: each brings an LLVM.
"""

import contextlib
import copy
import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import gymnasium as gym

from common.envs.rendering import FILM_WIDTH, FrameRecorder, hint, reason_of, select_gl_backend
from common.errors import UserError
from common.storage.atomic import temp_path


class Recorder(gym.Wrapper):
    """An environment that keeps the actions it is given.

    Args:
        env: the environment.

    Attributes:
        actions: in order.
    """

    def __init__(self, env):
        super().__init__(env)
        self.actions = []

    def step(self, action):
        """The environment's, with the action kept."""
        self.actions.append(copy.deepcopy(action))  # the environment may change it
        return self.env.step(action)


def film_episode(env_id, env_kwargs, seed, actions, path):
    """Film an episode that is known by its seed and its actions.

    Args:
        env_id, env_kwargs: the environment.
        seed: of its reset.
        actions: what it was given, in order.
        path: a .gif, written whole or not at all.

    Returns:
        ((height, width, 3) of the frames, their number, None), or (None, 0, one line on why there is no film).
    """
    part = temp_path(path, ".part.gif")
    try:
        found, warning = run_in_subprocess(replay_to_file, env_id, env_kwargs, seed, actions, part)
        if warning:
            return None, 0, warning
        if found[0] is not None:
            os.replace(part, path)
        return found
    finally:
        part.unlink(missing_ok=True)


def show_episodes(env_id, env_kwargs, seed, episodes):
    """Show episodes in a window; `episodes` are their actions. Returns None, or one line on why there is no window."""
    found, warning = run_in_subprocess(replay_to_window, env_id, env_kwargs, seed, episodes)
    return warning or found


def run_in_subprocess(function, env_id, *args):
    """(what `function(env_id, *args)` returns in a fresh process, None), or (None, one line on why nothing could be drawn). Ctrl-C ends both processes."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    select_gl_backend()
    try:
        with (
            ProcessPoolExecutor(
                1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=signal.signal,
                initargs=(signal.SIGINT, signal.SIG_DFL),
            ) as pool,
            kill_children_on_interrupt(),
        ):
            with ignore_sigint():
                future = pool.submit(function, env_id, *args)
            return future.result(), None
    except BrokenProcessPool:
        return None, f"no picture: what draws {env_id} crashed; set MUJOCO_GL to another of egl, osmesa and glfw"
    except Exception as error:  # whatever an environment or a renderer raises: what was played stands without pictures
        return None, f"no picture: {reason_of(error)}"


@contextlib.contextmanager
def ignore_sigint():
    """A block in which Ctrl-C is not heard, nor by a process that it starts until that listens of itself: Python on its way up would tell of it in
    twenty lines."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def kill_children_on_interrupt():
    """A block whose new child processes end with it, should it be interrupted."""
    others = multiprocessing.active_children()
    try:
        yield
    except KeyboardInterrupt:
        for child in multiprocessing.active_children():
            if child not in others:
                child.kill()
        raise


def replay_to_window(env_id, env_kwargs, seed, episodes):
    """As `show_episodes`, in this process, where TensorFlow must not have been imported."""
    from common.envs.factory import make_env
    from common.runtime.tf_import import stderr_on_error_only

    gym.logger.min_level = gym.logger.ERROR
    with stderr_on_error_only():  # what windows say on their way
        try:
            env = make_env(env_id, training=False, env_kwargs=env_kwargs | {"render_mode": "human"}, has_window=True)
            for number, actions in enumerate(episodes):
                env.reset(seed=seed if number == 0 else None)
                for action in actions:
                    env.step(action)
            env.close()
        except Exception as error:  # whatever an environment or a window raises
            return f"no window ({reason_of(error)})"


def replay_to_file(env_id, env_kwargs, seed, actions, path):
    """As `film_episode`, in this process, where TensorFlow must not have been imported."""
    from common.envs.factory import kind_of, make_env
    from common.runtime.tf_import import stderr_on_error_only

    gym.logger.min_level = gym.logger.ERROR
    # without its name Gymnasium 1.4 takes a camera that stands still; and software draws 480 x 480 for half as long again
    look = {"camera_name": "track", "width": FILM_WIDTH, "height": FILM_WIDTH} if kind_of(env_id) == "mujoco" else {}
    with stderr_on_error_only():  # what renderers say on their way
        try:
            env = make_env(env_id, training=False, env_kwargs=look | env_kwargs | {"render_mode": "rgb_array"})
        except UserError as error:
            return None, 0, hint(kind_of(env_id), error)
        film = FrameRecorder(env)
        env.reset(seed=seed)
        for t, action in enumerate(actions):
            film.look(t)
            env.step(action)
        env.close()
    if film.error is not None:
        return None, 0, hint(kind_of(env_id), film.error)
    film.write(path)
    return film.frames[0].shape, len(film.frames), None
