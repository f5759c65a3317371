"""Train on a custom environment: a point that must reach a target in the plane, with a reward at every step.

Command: `python examples/custom_environment.py`
The command line finds the environment by its module: `python run.py --env examples.custom_environment:Reach-v0`
"""

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env

from baselines_ppo import MlpPolicy, evaluate_policy, learn

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--timesteps", type=int, default=50_000, help="environment steps of the training")
parser.add_argument("--dir", type=Path, default=Path("runs/examples/custom_environment"), help="for all files")


class Reach(gym.Env):
    """The observation is the point and the target, the action the velocity, the reward minus the distance."""

    observation_space = gym.spaces.Box(-1, 1, (4,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)  # seeds self.np_random; use no other generator
        self.point, self.target = self.np_random.uniform(-1, 1, (2, 2))
        return self._observation(), {}

    def step(self, action):
        self.point = np.clip(self.point + 0.1 * np.asarray(action), -1, 1)
        distance = float(np.linalg.norm(self.point - self.target))
        return self._observation(), -distance, distance < 0.05, False, {}  # terminated; the time limit truncates

    def _observation(self):
        return np.concatenate([self.point, self.target]).astype(np.float32)


gym.register("Reach-v0", entry_point=Reach, max_episode_steps=100)


def main(argv=None):
    args = parser.parse_args(argv)
    check_env(gym.make("Reach-v0").unwrapped, skip_render_check=True)
    untrained = MlpPolicy("pi", Reach.observation_space, Reach.action_space)
    print("before:", evaluate_policy(untrained, "Reach-v0", episodes=20))
    pi = learn("Reach-v0", "MlpPolicy", max_timesteps=args.timesteps, schedule="linear", scale_returns=True, seed=0)
    print("after: ", evaluate_policy(pi, "Reach-v0", episodes=20))
    args.dir.mkdir(parents=True, exist_ok=True)
    pi.save(args.dir / "reach.safetensors")
    print(f"the policy is in {args.dir / 'reach.safetensors'}")


if __name__ == "__main__":
    main()
