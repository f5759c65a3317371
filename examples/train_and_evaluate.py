"""Train a policy on CartPole, use it in an `env.step` loop, record a video of one episode, and evaluate the policy.

Command: `python examples/train_and_evaluate.py`
"""

import argparse
from pathlib import Path

import gymnasium as gym
import imageio.v3 as imageio

from baselines_ppo import LearningCurve, evaluate_policy, learn, load_policy

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--timesteps", type=int, default=50_000, help="environment steps of the training")
parser.add_argument("--dir", type=Path, default=Path("runs/examples/train_and_evaluate"), help="for all files")


def main(argv=None):
    args = parser.parse_args(argv)
    args.dir.mkdir(parents=True, exist_ok=True)
    curve = LearningCurve()
    pi = learn(
        "CartPole-v1",
        "MlpPolicy",
        max_timesteps=args.timesteps,
        timesteps_per_actorbatch=1024,
        optim_stepsize=1e-3,
        schedule="linear",
        callback=curve,
        seed=0,
    )
    for steps, mean_return in list(zip(curve.timesteps, curve.returns))[::10]:
        print(f"{steps:7,.0f} steps: mean return of the last 100 episodes {mean_return:.1f}")

    pi.save(args.dir / "cartpole.safetensors")
    pi = load_policy(args.dir / "cartpole.safetensors")

    env = gym.make("CartPole-v1", render_mode="rgb_array")
    ob, _ = env.reset(seed=1)
    frames, total, done = [], 0.0, False
    while not done:
        frames.append(env.render())
        action = pi.predict(ob, deterministic=True)
        ob, reward, terminated, truncated, _ = env.step(action)
        total, done = total + reward, terminated or truncated
    env.close()
    imageio.imwrite(args.dir / "video.gif", frames[::2], duration=40, loop=0)  # duration of a frame in ms
    print(f"one episode: return {total:g}, {len(frames)} steps, video in {args.dir / 'video.gif'}")

    print("evaluation:", evaluate_policy(pi, "CartPole-v1", episodes=20))


if __name__ == "__main__":
    main()
