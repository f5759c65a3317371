"""Plays the episodes of `run.py --play`. Importing it imports TensorFlow."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from baselines_ppo.cli.errors import print_error
from baselines_ppo.play.policy_env import load_policy_and_env
from baselines_ppo.play.video import Recorder, film_episode, show_episodes
from common.errors import EnvError
from common.policies.locate import find_policy
from common.rollouts.evaluation import evaluate


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
        returns, lengths = evaluate(pi, recorder, episodes, not args.deterministic, seed)
    except EnvError as error:
        error.add_context(source="the environment")
        print(error.trace or "", file=sys.stderr, end="")
        print_error(error.describe(f"{'its traceback is above: ' if error.trace else ''}fix it"))
        return 1
    env.close()
    print_summary(returns, lengths, env_id, args)
    if window:
        by_episode = np.split(np.array(recorder.actions), np.cumsum(lengths)[:-1])
        warning = show_episodes(env_id, env_kwargs, seed, by_episode)
        if warning is None:
            return 0
        print(f"{warning}; recording a video instead", file=sys.stderr)
    if video_path is None:
        return 0
    _, frames, warning = film_episode(env_id, env_kwargs, seed, recorder.actions[: lengths[0]], video_path)
    print(warning or f"video of the first episode, {frames} frames: {video_path}", file=sys.stderr)
    return 1 if warning and args.video else 0


def summary_statistics(returns: np.ndarray, lengths: np.ndarray) -> dict[str, Any]:
    """Return the statistics of episodes: mean, standard deviation, and Student's 95 % interval of the mean.

    The interval is None for a single episode.
    """
    interval = None
    if len(returns) > 1:
        half = float(stats.t.ppf(0.975, len(returns) - 1) * returns.std(ddof=1) / np.sqrt(len(returns)))
        interval = [float(returns.mean()) - half, float(returns.mean()) + half]
    return {
        "episodes": len(returns),
        "mean": float(returns.mean()),
        "deviation": float(returns.std()),
        "interval": interval,
        "min": float(returns.min()),
        "max": float(returns.max()),
        "length": float(lengths.mean()),
    }


def print_summary(returns: np.ndarray, lengths: np.ndarray, env_id: str, args: Namespace) -> None:
    """Print the episodes' statistics: one line, or a JSON object with `--json`."""
    found = summary_statistics(returns, lengths)
    how = "deterministic" if args.deterministic else "stochastic"
    if args.json:
        report = {"env": env_id, "policy": str(find_policy(args.load_path)), "actions": how, **found}
        print(json.dumps(report | {"returns": returns.tolist(), "lengths": lengths.tolist()}))
        return
    interval = ""
    if found["interval"]:
        low, high = found["interval"]
        interval = f", 95 % interval of the mean {low:.6g} to {high:.6g}"
    print(
        f"{env_id}: {len(returns)} {how} episode{'s' * (len(returns) != 1)}, return {found['mean']:.6g} +- "
        f"{found['deviation']:.4g} (from {found['min']:.6g} to {found['max']:.6g}){interval}, "
        f"length {found['length']:.6g}"
    )
