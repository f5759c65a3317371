"""Videos of a policy's episodes, rendered in a separate process.

The process that plays the episodes records the actions. A second process, without TensorFlow, replays and renders them:
Mesa's OpenGL and TensorFlow crash in one process, in either order of import, because each brings its own LLVM.
"""

from __future__ import annotations

import contextlib
import copy
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import gymnasium as gym

from common.envs.factory import env_family, make_env
from common.envs.rendering import FILM_WIDTH, FrameRecorder, hint, reason_of, select_gl_backend
from common.errors import UserError
from common.runtime.tf_import import stderr_on_error_only
from common.storage.atomic import temp_path


class Recorder(gym.Wrapper):
    """Wrapper that records the actions.

    Args:
        env: the environment.

    Attributes:
        actions: in order.
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.actions: list[Any] = []

    def step(self, action: Any) -> Any:
        """Record the action, and step the environment."""
        self.actions.append(copy.deepcopy(action))  # the environment may change it
        return self.env.step(action)


def film_episode(
    env_id: str, env_kwargs: Mapping[str, Any], seed: int, actions: Sequence[Any], path: Path
) -> tuple[tuple[int, ...] | None, int, str | None]:
    """Record an episode, given its seed and its actions.

    Args:
        env_id, env_kwargs: the environment.
        seed: of its reset.
        actions: in order.
        path: a .gif, written atomically.

    Returns:
        ((height, width, 3) of the frames, their number, None), or (None, 0, one line on why there is no video).
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


def show_episodes(
    env_id: str, env_kwargs: Mapping[str, Any], seed: int, episodes: Sequence[Sequence[Any]]
) -> str | None:
    """Show episodes in a window, given each one's actions; return None, or one line on why there is no window."""
    found, warning = run_in_subprocess(replay_to_window, env_id, env_kwargs, seed, episodes)
    return warning or found


def run_in_subprocess(function: Callable[..., Any], env_id: str, *args: Any) -> tuple[Any, str | None]:
    """Call `function(env_id, *args)` in a new process. Ctrl-C ends both processes.

    Returns:
        (the function's result, None), or (None, one line on why nothing could be rendered).
    """
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
        return None, f"no video: the renderer of {env_id} crashed; set MUJOCO_GL to another of egl, osmesa and glfw"
    except Exception as error:  # of the environment or the renderer: the played episodes are valid without a video
        return None, f"no video: {reason_of(error)}"


@contextlib.contextmanager
def ignore_sigint() -> Iterator[None]:
    """Context manager that ignores SIGINT in this process and in children started inside it.

    A child that is interrupted before it has installed its own handler would print a traceback of its start-up.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def kill_children_on_interrupt() -> Iterator[None]:
    """Context manager that kills the child processes started inside it if it is interrupted."""
    others = multiprocessing.active_children()
    try:
        yield
    except KeyboardInterrupt:
        for child in multiprocessing.active_children():
            if child not in others:
                child.kill()
        raise


def replay_to_window(
    env_id: str, env_kwargs: Mapping[str, Any], seed: int, episodes: Sequence[Sequence[Any]]
) -> str | None:
    """`show_episodes` in this process, which must not have imported TensorFlow."""
    gym.logger.min_level = gym.logger.ERROR
    with stderr_on_error_only():  # windows print messages while they open
        try:
            env = make_env(env_id, training=False, env_kwargs={**env_kwargs, "render_mode": "human"}, has_window=True)
            for number, actions in enumerate(episodes):
                env.reset(seed=seed if number == 0 else None)
                for action in actions:
                    env.step(action)
            env.close()
        except Exception as error:  # of the environment or the window
            return f"no window ({reason_of(error)})"
    return None


def replay_to_file(
    env_id: str, env_kwargs: Mapping[str, Any], seed: int, actions: Sequence[Any], path: Path
) -> tuple[tuple[int, ...] | None, int, str | None]:
    """`film_episode` in this process, which must not have imported TensorFlow."""
    gym.logger.min_level = gym.logger.ERROR
    # Gymnasium 1.4 uses a fixed camera unless one is named; software rendering of 480 x 480 takes 1.5 times as long
    camera = {}
    if env_family(env_id) == "mujoco":
        camera = {"camera_name": "track", "width": FILM_WIDTH, "height": FILM_WIDTH}
    with stderr_on_error_only():  # renderers print messages while they start
        try:
            env = make_env(env_id, training=False, env_kwargs={**camera, **env_kwargs, "render_mode": "rgb_array"})
        except UserError as error:
            return None, 0, hint(env_family(env_id), error)
        recorder = FrameRecorder(env)
        env.reset(seed=seed)
        for t, action in enumerate(actions):
            recorder.capture(t)
            env.step(action)
        env.close()
    if recorder.error is not None:
        return None, 0, hint(env_family(env_id), recorder.error)
    recorder.write(path)
    return recorder.frames[0].shape, len(recorder.frames), None
