"""Watching a trained policy: load it, run episodes, print what they earned, film one."""
import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402

from common import mpi, seeding  # noqa: E402
from common.errors import UserError  # noqa: E402

NOISE_BLOCK = 1000  # time steps for which noise is drawn at once


def find_policy(path):
    """The policy file that a run folder, a policy folder or a file's own path names.

    Raises:
        UserError: if there is none.
    """
    path = Path(path)
    for candidate in (path, path / "policy.safetensors", path / "policy" / "policy.safetensors"):
        if candidate.is_file():
            return candidate
    raise UserError(f"--load-path {path}: no policy there; give a run folder that has ended, or a policy.safetensors file")


def evaluate(pi, env, episodes, stochastic, seed=0, frames=None):
    """Run whole episodes of one environment.

    Args:
        pi: the policy.
        env: made with `training=False`, so that rewards are the environment's own.
        episodes: how many.
        stochastic: sample actions, or take the most likely ones.
        seed: of the environment's first reset and of the actions.
        frames: a list that takes the frames of the first episode, or None.

    Returns:
        (returns, lengths), float64 and int arrays [episodes].
    """
    rng = seeding.generator(seed, seeding.EVALUATION)
    low, high = (getattr(env.action_space, bound, None) for bound in ("low", "high"))
    returns, lengths = np.zeros(episodes), np.zeros(episodes, int)
    for episode in range(episodes):
        ob, _ = env.reset(seed=seed if episode == 0 else None)
        ended = False
        while not ended:
            t = lengths[episode] % NOISE_BLOCK
            if t == 0:
                act = pi.actor(1, pi.pdtype.noise(rng, (NOISE_BLOCK, 1)) if stochastic else None)
            if frames is not None and episode == 0:
                frames.append(env.render())
            ac = act(pi.encoder.one(ob)[None], t)[0]
            ob, rew, terminated, truncated, _ = env.step(ac if low is None else np.clip(ac, low, high))
            returns[episode] += rew
            lengths[episode] += 1
            ended = terminated or truncated
    return returns, lengths


def play(typed, args):
    """`run.py --play`: returns the exit status; raises UserError for what cannot be played."""
    if mpi.launched_ranks()[0] > 1:
        raise UserError(f"--play runs on one rank, mpirun started {mpi.launched_ranks()[0]}; leave mpirun out")
    if not args.load_path:
        raise UserError("--play needs --load-path, a run folder or a policy file")
    if args.eval_episodes < 1:
        raise UserError(f"eval_episodes={args.eval_episodes}; give at least 1")
    if args.video and not args.video.endswith(".gif"):
        raise UserError(f"--video {args.video}: only .gif films can be written; name it something.gif")
    path = find_policy(args.load_path)
    from common.quiet import available_cores, import_tensorflow, quiet_stderr
    import_tensorflow(threads=available_cores())
    import gymnasium as gym

    from baselines_ppo.policies import FORMAT, load_policy
    from common.checkpoints import load_arrays
    from common.envs import make_env
    gym.logger.min_level = gym.logger.ERROR
    metadata = load_arrays(path, FORMAT)[1]
    env_id = typed.get("env") or metadata.get("env")
    if env_id is None:
        raise UserError(f"{path} does not name its environment; give --env")
    kwargs = typed.get("env_kwargs") or metadata.get("env_kwargs") or {}
    with quiet_stderr():
        env = make_env(env_id, training=False, **kwargs, **({"render_mode": "rgb_array"} if args.video else {}))
    pi = load_policy(path)
    if env.observation_space.shape != pi.ob_space.shape or env.action_space != pi.ac_space:
        raise UserError(f"{path} was trained for observations {pi.ob_space} and actions {pi.ac_space}; {env_id} has {env.observation_space} "
                        f"and {env.action_space}")
    frames = [] if args.video else None
    returns, lengths = evaluate(pi, env, args.eval_episodes, not args.deterministic, typed.get("seed", 0), frames)
    how = "deterministic" if args.deterministic else "stochastic"
    print(f"{env_id}: {len(returns)} {how} episodes, return {returns.mean():.6g} +- {returns.std():.4g} (from {returns.min():.6g} to {returns.max():.6g}), "
          f"length {lengths.mean():.6g}")
    if frames:
        import imageio
        imageio.mimsave(args.video, frames, duration=1000 / env.metadata.get("render_fps", 30), loop=0)
        print(f"film of the first episode, {len(frames)} frames: {args.video}")
    env.close()
    return 0
