"""Watching a trained policy: load it, run episodes, print what they earned, film one."""

import json
import shlex
import sys
from pathlib import Path

import numpy as np

from baselines_ppo.cli.errors import print_error
from common import seeding
from common.distributed.launcher import launcher_world_size
from common.envs.monitor import find_monitor
from common.envs.rendering import display_named, has_display
from common.errors import EnvError, UserError
from common.formatting import safe_repr, truncate
from common.policies.locate import find_policy, find_policy_and_run
from common.policies.space_comparison import check_spaces
from common.rollouts.episodes import MAX_EPISODE_STEPS
from common.runs.run_directory import read_config
from common.runtime.memory import check_memory
from common.storage.paths import user_path, writable_file
from common.validation import check_int_argument
from common.vec_env.adapter import VectorEnvAdapter

NOISE_BLOCK = 1000  # time steps for which noise is drawn at once
MAX_SHOWN_EPISODES = 10  # episodes that are watched; more are only counted


def evaluate(pi, env, episodes, stochastic, seed=0, heartbeat=None):
    """Run whole episodes of one environment.

    Args:
        pi: the policy.
        env: made with `training=False`, so that rewards are the environment's own.
        episodes: how many.
        stochastic: sample actions, or take the most likely ones.
        seed: of the environment's first reset and of the actions.
        heartbeat: an object whose `step` counts the steps.

    Returns:
        (returns, lengths), float64 and int arrays [episodes].

    Raises:
        UserError: if an episode does not end, or for an argument that cannot be.
        EnvironmentFault: for what the environment raises, or returns that cannot be used.
    """
    episodes, seed = check_int_argument("episodes", episodes, 1), check_int_argument("seed", seed)
    rng = seeding.generator(seed, seeding.EVALUATION)
    stepper = VectorEnvAdapter(env, pi.encoder)
    obs, rew, valid = np.empty((2, 1, *pi.encoder.shape), pi.encoder.dtype), np.zeros((1, 1)), np.ones((1, 1), bool)
    obs[1] = stepper.reset([seed])
    returns, lengths, monitor = np.zeros(episodes), np.zeros(episodes, int), find_monitor(env)
    for episode in range(episodes):
        ended = False
        while not ended:
            obs[0] = obs[1]
            check_finite("observation", obs[0], stepper, episode, lengths[episode])
            t = lengths[episode] % NOISE_BLOCK
            if t == 0:
                act = pi.actor(1, pi.pdtype.noise(rng, (NOISE_BLOCK, 1)) if stochastic else None)
            ended = stepper.step(act(obs[0], t), 0, obs, rew, valid)
            check_finite("reward", rew, stepper, episode, lengths[episode])
            returns[episode] += rew[0, 0]
            lengths[episode] += 1
            if heartbeat is not None:
                heartbeat.step += 1
            if lengths[episode] >= MAX_EPISODE_STEPS:
                raise UserError(
                    f"an episode has not ended after {MAX_EPISODE_STEPS:,} steps; an evaluation needs ends: wrap the environment in a "
                    "gymnasium.wrappers.TimeLimit"
                )
        if monitor is not None:
            monitor.take_episodes()  # or it keeps those of a whole training's evaluations
    return returns, lengths


def check_finite(name, values, stepper, episode, step):
    """Raises EnvironmentFault if an observation or a reward of a stepper's environment is not finite."""
    if not np.isfinite(values).all():
        raise EnvError(
            f"returned a{'n' if name == 'observation' else ''} {name} that is not finite",
            env_id=getattr(stepper.env.spec, "id", None),
            position=f"at step {step} of episode {episode}",
        )


def load_policy_and_env(path, env_id=None, env_kwargs=None):
    """A saved policy and an environment that it was trained for, with that environment's own rewards. TensorFlow must have been imported.

    Args:
        path: as for `find_policy`.
        env_id, env_kwargs: the environment's; what the file or its run says if None.

    Returns:
        (pi, env, env_id, env_kwargs).

    Raises:
        UserError: if there is no policy or environment, or they do not fit.
    """
    import gymnasium as gym

    from baselines_ppo.policy_registry import load_policy
    from common.envs.factory import make_env
    from common.policies.files import read_policy
    from common.runtime.tf_import import stderr_on_error_only

    gym.logger.min_level = gym.logger.ERROR
    given, path = user_path(path), find_policy(path).resolve()
    metadata = read_policy(path)[1]
    if "env" not in metadata and path.parent.name == "checkpoints":
        settings = (read_config(path.parents[1]) or {}).get("settings")
        metadata |= settings if isinstance(settings, dict) else {}
    env_id, env_kwargs = (
        env_id or env_named_in(metadata, path, given),
        kwargs_in(metadata, path) if env_kwargs is None else env_kwargs,
    )
    with stderr_on_error_only():
        env = make_env(env_id, training=False, env_kwargs=env_kwargs)
    pi = load_policy(path)
    check_spaces(path, pi, env.observation_space, env.action_space, env_id)
    return pi, env, env_id, env_kwargs


def kwargs_in(metadata, path):
    """The arguments {name: value} that a policy's metadata gives its environment. A window is opened by what shows the episodes, not by the environment that
    they are played in.

    Raises:
        UserError: if they are no JSON object, or there were others that no file holds.
    """
    found, lost = metadata.get("env_kwargs") or {}, metadata.get("env_kwargs_lost") or {}
    if not isinstance(found, dict) or not isinstance(lost, dict):
        raise UserError(
            f"{path} gives its environment the arguments {safe_repr(found)}, no JSON object; give --env-kwargs"
        )
    if lost:
        what = ", ".join(f"{name} (a value of type {kind})" for name, kind in lost.items())
        raise UserError(
            f"{path}: its environment was made with {truncate(what)}, which no file holds; give --env-kwargs, a JSON object with what takes their "
            f"place, such as --env-kwargs {shlex.quote(truncate(json.dumps(found)))} to leave them out"
        )
    return {name: x for name, x in found.items() if (name, x) != ("render_mode", "human")}


def env_named_in(metadata, path, given):
    """The environment that a policy's metadata names.

    Raises:
        UserError: if there is none; or if it would be imported from a module, and the policy was `given` as a file and not as a run's folder:
            a file from elsewhere shall not choose what code is run.
    """
    env_id = metadata.get("env")
    if not isinstance(env_id, str):
        raise UserError(
            f"{path} does not name its environment{'' if env_id is None else f', but {safe_repr(env_id)}'}; give --env"
        )
    if ":" in env_id and given.is_file():
        raise UserError(
            f"{path} names the environment {safe_repr(env_id)}, which is code to be imported; if you trust it, give --env"
        )
    return env_id


def summary(returns, lengths):
    """{name: number} of some episodes: mean, deviation, and Student's 95 % interval of the mean (None for one episode)."""
    interval = None
    if len(returns) > 1:
        from scipy import stats

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


def choose_output(episodes, args):
    """(whether episodes are watched in a window, path of a film of the first or None) of `--play`: they are counted alone where that was asked for by
    `--json`, or by more of them than one watches."""
    if args.video:
        return False, args.video
    if args.json or episodes > MAX_SHOWN_EPISODES:
        return False, None
    folder, window, display = Path(args.load_path), has_display(), display_named()
    if display and not window:
        print(f"{display} does not answer: a film instead of a window", file=sys.stderr)
    return window, (folder if folder.is_dir() else Path()) / "play.gif"


def select_run(path: str) -> str:
    """Return `path`, or the latest run in it if it is a directory of runs; the choice is printed."""
    _, run = find_policy_and_run(path)
    if run is None:
        return path
    print(f"{path} contains several runs; the latest with a policy is {run.name}", file=sys.stderr, flush=True)
    return str(run)


def play(typed, args):
    """`run.py --play`: returns the exit status; raises UserError for what cannot be played."""
    if launcher_world_size()[0] > 1:
        raise UserError(f"--play runs on one rank, mpirun started {launcher_world_size()[0]}; leave mpirun out")
    if not args.load_path:
        raise UserError("--play needs --load-path, a run folder or a policy file")
    args.load_path = select_run(args.load_path)
    episodes, seed = typed.get("eval_episodes", MAX_SHOWN_EPISODES), typed.get("seed", 0)
    if episodes < 1:
        raise UserError(f"eval_episodes={episodes}; give at least 1")
    check_memory(16 * episodes, f"eval_episodes={episodes}: their returns")
    if args.video and args.video.suffix != ".gif":
        raise UserError(f"--video {args.video}: only .gif films can be written; name it something.gif")
    find_policy(args.load_path)
    if args.video:
        writable_file(args.video, "--video")
    window, film_path = choose_output(episodes, args)
    from common.runtime.cpu import usable_cpu_count
    from common.runtime.tf_import import import_tensorflow

    import_tensorflow(threads=usable_cpu_count())
    from baselines_ppo.play.video import Recorder, film_episode, show_episodes

    pi, env, env_id, env_kwargs = load_policy_and_env(args.load_path, typed.get("env"), typed.get("env_kwargs"))
    recorder = Recorder(env)
    try:
        returns, lengths = evaluate(pi, recorder, episodes, not args.deterministic, seed)
    except EnvError as fault:
        fault.add_context(source="the environment")
        print(fault.trace or "", file=sys.stderr, end="")
        print_error(fault.describe(f"{'its traceback is above: ' if fault.trace else ''}fix it"))
        return 1
    env.close()
    say(returns, lengths, env_id, args)
    if window:
        warning = show_episodes(env_id, env_kwargs, seed, np.split(np.array(recorder.actions), np.cumsum(lengths)[:-1]))
        if warning is None:
            return 0
        print(f"{warning}; a film instead of it", file=sys.stderr)
    if film_path is None:
        return 0
    _, frames, warning = film_episode(env_id, env_kwargs, seed, recorder.actions[: lengths[0]], film_path)
    print(warning or f"film of the first episode, {frames} frames: {film_path}", file=sys.stderr)
    return 1 if warning and args.video else 0


def say(returns, lengths, env_id, args):
    """Print what episodes earned: a line, or a JSON object."""
    found, how = summary(returns, lengths), "deterministic" if args.deterministic else "stochastic"
    if args.json:
        print(
            json.dumps(
                {
                    "env": env_id,
                    "policy": str(find_policy(args.load_path)),
                    "actions": how,
                    **found,
                    "returns": returns.tolist(),
                    "lengths": lengths.tolist(),
                }
            )
        )
        return
    interval = (
        f", 95 % interval of the mean {found['interval'][0]:.6g} to {found['interval'][1]:.6g}"
        if found["interval"]
        else ""
    )
    print(
        f"{env_id}: {len(returns)} {how} episode{'s' * (len(returns) != 1)}, return {found['mean']:.6g} +- {found['deviation']:.4g} "
        f"(from {found['min']:.6g} to {found['max']:.6g}){interval}, length {found['length']:.6g}"
    )
