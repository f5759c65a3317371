"""Start PPO from demonstrations: a rule balances the pole of CartPole, and a policy is cloned from its episodes.

Command: `python examples/demonstrations.py`
The command line does the same: `python run.py --env CartPole-v1 --demonstrations FILE`
"""

import argparse
from pathlib import Path

import gymnasium as gym

from baselines_ppo import DemonstrationRecorder, LearningCurve, evaluate_policy, learn, save_demonstrations

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--timesteps", type=int, default=20_000, help="environment steps of each training")
parser.add_argument("--dir", type=Path, default=Path("runs/examples/demonstrations"), help="for all files")


def rule(ob):
    """Push the cart to the side to which the pole falls."""
    position, velocity, angle, angular_velocity = ob
    return int(0.02 * position + 0.05 * velocity + angle + 0.5 * angular_velocity > 0)


def record(episodes):
    """Return episodes of the rule."""
    env = DemonstrationRecorder(gym.make("CartPole-v1"))
    for episode in range(episodes):
        ob, _ = env.reset(seed=episode)
        done = False
        while not done:
            ob, _, terminated, truncated, _ = env.step(rule(ob))
            done = terminated or truncated
    return env.demonstrations()


def main(argv=None):
    args = parser.parse_args(argv)
    data = record(episodes=6)
    save_demonstrations(args.dir / "cartpole.npz", data)
    print(f"{data.steps:,} steps, mean return {data.episode_returns().mean():.1f}, in {args.dir / 'cartpole.npz'}")
    for name, source in (("without demonstrations", None), ("from demonstrations", args.dir / "cartpole.npz")):
        curve = LearningCurve()
        settings = {"max_timesteps": args.timesteps, "callback": curve, "seed": 0}
        pi = learn("CartPole-v1", "MlpPolicy", demonstrations=source, scale_returns=True, **settings)
        print(f"{name}: mean return {curve.returns[0]:.1f} in the first iteration, {curve.returns[-1]:.1f} in the last")
        print("evaluation:", evaluate_policy(pi, "CartPole-v1", episodes=10))


if __name__ == "__main__":
    main()
