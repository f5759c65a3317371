"""Plays the episodes of `run.py --play`. Importing it imports TensorFlow."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from baselines_ppo.cli.errors import print_error
from baselines_ppo.play.policy_env import load_policy_and_env
from baselines_ppo.play.video import Recorder, film_episode, show_episodes
from common.errors import EnvError
from common.policies.locate import find_policy
from common.rollouts.evaluation import evaluate
from common.rollouts.policy_evaluation import Evaluation


def play_episodes(
    explicit: Mapping[str, Any], args: Namespace, episodes: int, window: bool, video_path: Path | None
) -> int:
    """Run the episodes, print their returns, and show or record them; return the exit status.

    Args:
        explicit: settings given on the command line.
        args: the other arguments.
        episodes: how many.
        window, video_path: as of `choose_output`.
    """
    seed = explicit.get("seed", 0)
    pi, env, env_id, env_kwargs = load_policy_and_env(args.load_path, explicit.get("env"), explicit.get("env_kwargs"))
    recorder = Recorder(env)
    try:
        found = Evaluation(*evaluate(pi, recorder, episodes, not args.deterministic, seed))
    except EnvError as error:
        error.add_context(source="the environment")
        print(error.trace or "", file=sys.stderr, end="")
        print_error(error.describe(f"{'its traceback is above: ' if error.trace else ''}fix it"))
        return 1
    env.close()
    print_summary(found, env_id, args)
    if window:
        ends = np.cumsum(found.lengths)
        by_episode = [recorder.actions[end - length : end] for end, length in zip(ends, found.lengths)]
        warning = show_episodes(env_id, env_kwargs, seed, by_episode)
        if warning is None:
            return 0
        print(f"{warning}; recording a video instead", file=sys.stderr)
    if video_path is None:
        return 0
    _, frames, warning = film_episode(env_id, env_kwargs, seed, recorder.actions[: found.lengths[0]], video_path)
    print(warning or f"video of the first episode, {frames} frames: {video_path}", file=sys.stderr)
    return 1 if warning and args.video else 0


def summary_statistics(found: Evaluation) -> dict[str, Any]:
    """Return what `--json` prints of an evaluation's statistics."""
    return {
        "episodes": found.episodes,
        "mean": found.mean,
        "deviation": found.std,
        "interval": found.interval,
        "min": float(found.returns.min()),
        "max": float(found.returns.max()),
        "length": float(found.lengths.mean()),
    }


def print_summary(found: Evaluation, env_id: str, args: Namespace) -> None:
    """Print the statistics of the episodes: one line, or a JSON object with `--json`."""
    how = "deterministic" if args.deterministic else "stochastic"
    if args.json:
        report = {"env": env_id, "policy": str(find_policy(args.load_path)), "actions": how}
        report |= summary_statistics(found)
        print(json.dumps(report | {"returns": found.returns.tolist(), "lengths": found.lengths.tolist()}))
        return
    print(f"{env_id}: {found.describe(how)}")
