"""Train with action masks: a walk over a grid whose action names the next cell, so that most actions are invalid.

Command: `python examples/action_masks.py`
"""

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np

from baselines_ppo import evaluate_policy, learn, load_policy

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--timesteps", type=int, default=20_000, help="environment steps of the training")
parser.add_argument("--dir", type=Path, default=Path("runs/examples/action_masks"), help="for all files")
SIDE = 6


class Walk(gym.Env):
    """Walk from a random cell to the last one; only the neighbours of a cell can be reached from it."""

    observation_space = action_space = gym.spaces.Discrete(SIDE * SIDE)

    def action_masks(self):
        rows, columns = np.divmod(np.arange(SIDE * SIDE), SIDE)
        row, column = divmod(self.cell, SIDE)
        return np.abs(rows - row) + np.abs(columns - column) == 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell = int(self.np_random.integers(SIDE * SIDE - 1))
        return self.cell, {}

    def step(self, action):
        assert self.action_masks()[action], f"{action} is not next to {self.cell}"
        self.cell = int(action)
        return self.cell, -1.0, self.cell == SIDE * SIDE - 1, False, {}


gym.register("Walk-v0", entry_point=Walk, max_episode_steps=200)


def main(argv=None):
    args = parser.parse_args(argv)
    pi = learn("Walk-v0", "MlpPolicy", max_timesteps=args.timesteps, optim_stepsize=1e-3, seed=0)  # finds the masks
    print(evaluate_policy(pi, "Walk-v0", episodes=20))
    args.dir.mkdir(parents=True, exist_ok=True)
    pi.save(args.dir / "walk.safetensors")
    pi, env, done = load_policy(args.dir / "walk.safetensors"), Walk(), False
    path = [env.reset(seed=1)[0]]
    while not done and len(path) < 100:
        ob, _, done, _, _ = env.step(pi.predict(path[-1], deterministic=True, action_masks=env.action_masks()))
        path.append(ob)
    print("cells:", *path)


if __name__ == "__main__":
    main()
