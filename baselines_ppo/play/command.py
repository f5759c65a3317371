"""`run.py --play`: runs episodes of a saved policy, prints their returns, and shows or records them."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from baselines_ppo.config.registry import SETTINGS
from common.demonstrations.files import check_file_name
from common.distributed.launcher import launcher_world_size
from common.envs.rendering import display_named, has_display
from common.errors import UserError
from common.policies.locate import find_policy, find_policy_and_run
from common.runtime.cpu import usable_cpu_count
from common.runtime.memory import check_memory
from common.runtime.tf_import import import_tensorflow
from common.storage.paths import writable_file
from common.validation import check_int_argument

MAX_SHOWN_EPISODES = 10  # more episodes are evaluated without a window
USED = ("env", "env_kwargs", "seed", "eval_episodes", "load_path")  # settings that `--play` uses


def play(explicit: Mapping[str, Any], args: Namespace) -> int:
    """Play a saved policy.

    Args:
        explicit: settings given on the command line.
        args: the other arguments.

    Returns:
        The exit status.

    Raises:
        UserError: for invalid arguments, or a policy that cannot be loaded.
    """
    ranks = launcher_world_size()[0]
    if ranks > 1:
        raise UserError(f"--play runs on one rank, but mpirun started {ranks}; leave mpirun out")
    if not args.load_path:
        raise UserError("--play needs --load-path, a run directory or a policy file")
    args.load_path = select_run(args.load_path)
    episodes = check_int_argument("eval_episodes", explicit.get("eval_episodes", MAX_SHOWN_EPISODES), 1)
    check_memory(16 * episodes, f"eval_episodes={episodes}: their returns")
    if args.video and args.video.suffix != ".gif":
        raise UserError(f"invalid --video {args.video}: must end in .gif")
    find_policy(args.load_path)
    if unused := [SETTINGS[name].flag for name in explicit if name not in USED]:
        print(
            f"without effect in --play, which uses the policy's own settings: {', '.join(unused)}",
            file=sys.stderr,
            flush=True,
        )
    if args.video:
        writable_file(args.video, "--video")
    if args.save_demonstrations:
        check_file_name(args.save_demonstrations, "--save-demonstrations")
        writable_file(args.save_demonstrations, "--save-demonstrations")
    window, video_path = choose_output(episodes, args)
    import_tensorflow(threads=usable_cpu_count())
    from baselines_ppo.play.episodes import play_episodes  # the gate: it imports TensorFlow

    return play_episodes(explicit, args, episodes, window, video_path)


def select_run(path: str) -> str:
    """Return `path`, or the latest run in it if it is a directory of runs; the choice is printed."""
    _, run = find_policy_and_run(path)
    if run is None:
        return path
    print(f"{path} contains several runs; the latest with a policy is {run.name}", file=sys.stderr, flush=True)
    return str(run)


def choose_output(episodes: int, args: Namespace) -> tuple[bool, Path | None]:
    """Choose how the episodes are shown.

    With `--json`, with `--save-demonstrations`, or more than `MAX_SHOWN_EPISODES` episodes, they are only evaluated.

    Returns:
        (whether to open a window, path of a video of the first episode or None).
    """
    if args.video:
        return False, args.video
    if args.json or args.save_demonstrations or episodes > MAX_SHOWN_EPISODES:
        return False, None
    folder, window, display = Path(args.load_path), has_display(), display_named()
    if display and not window:
        print(f"{display} does not answer: recording a video instead of opening a window", file=sys.stderr)
    return window, (folder if folder.is_dir() else Path()) / "play.gif"
