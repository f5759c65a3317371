"""Records the video of a report. Importing it imports TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from tensorboard.plugins.image import metadata

from baselines_ppo.experiment.progress import last_value
from baselines_ppo.play.policy_env import load_policy_and_env
from baselines_ppo.play.video import Recorder, film_episode
from common.errors import EnvError, UserError
from common.rollouts.evaluation import evaluate
from common.runs.results import RunResults


def record_video(run: RunResults) -> str | None:
    """Record one deterministic episode of a run's policy as `film.gif`, and write it to TensorBoard.

    Returns:
        None, or one line on why there is no video.
    """
    seed, path = run.settings.get("seed") or 0, run.directory / "film.gif"
    try:
        pi, env, env_id, env_kwargs = load_policy_and_env(run.directory)
    except UserError as error:
        return f"no video: {error}"
    recorder = Recorder(env)
    try:
        evaluate(pi, recorder, 1, stochastic=False, seed=seed)
    except EnvError as error:
        return f"no video: {error.describe('fix the environment')}"
    env.close()
    shape, _, warning = film_episode(env_id, env_kwargs, seed, recorder.actions, path)
    if shape is not None:
        write_to_tensorboard(run.directory / "tb", path.read_bytes(), shape, int(last_value(run, "steps") or 0))
    return warning


def write_to_tensorboard(folder: Path, gif: bytes, shape: Sequence[int], steps: int) -> None:
    """Write an animated image with the tag "film".

    Args:
        folder: the directory of the event files.
        gif: contents of the .gif file.
        shape: (height, width, ...) of its frames.
        steps: environment steps, the event's step.
    """
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default(steps):  # the images plugin reads [width, height, encoded images ...]
        tf.summary.write(
            "film",
            tf.constant([str(shape[1]).encode(), str(shape[0]).encode(), gif]),
            metadata=metadata.create_summary_metadata(None, None),
        )
    writer.close()
