"""Train with mixed spaces: an image and a vector as observation, a choice and a number as action.

Command: `python examples/mixed_spaces.py`
"""

import argparse
import functools
from pathlib import Path

import gymnasium as gym
import numpy as np

from baselines_ppo import MixedPolicy, evaluate_policy, learn, load_policy

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--timesteps", type=int, default=12_288, help="environment steps of the training")
parser.add_argument("--dir", type=Path, default=Path("runs/examples/mixed_spaces"), help="for all files")
SIDE, SETTINGS = 20, {"optim_stepsize": 1e-3, "optim_batchsize": 128, "gamma": 0.5}


class Reach(gym.Env):
    """Move to a goal: the image shows it as a white column, and the vector has the position."""

    observation_space = gym.spaces.Dict(
        {"map": gym.spaces.Box(0, 255, (SIDE, SIDE), np.uint8), "position": gym.spaces.Box(0, 1, (1,))}
    )
    action_space = gym.spaces.Dict({"right": gym.spaces.Discrete(2), "length": gym.spaces.Box(0, 1, (1,))})

    def observe(self):
        image = np.tile(np.uint8(255) * (np.arange(SIDE) == self.goal), (SIDE, 1))
        return {"map": image, "position": np.array([self.position], np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.goal, self.position = int(self.np_random.integers(SIDE)), self.np_random.random()
        return self.observe(), {}

    def step(self, action):
        move = (1 if action["right"] else -1) * action["length"][0]
        self.position = float(np.clip(self.position + move, 0, 1))
        return self.observe(), -abs(self.position - self.goal / (SIDE - 1)), False, False, {}


gym.register("MixedReach-v0", entry_point=Reach, max_episode_steps=4)
POLICY = functools.partial(MixedPolicy, kind="small", init_logstd=-1)  # "small" is for images from 20 x 20 pixels


def main(argv=None):
    args = parser.parse_args(argv)
    pi = learn("MixedReach-v0", POLICY, max_timesteps=args.timesteps, seed=0, **SETTINGS)
    print(evaluate_policy(pi, "MixedReach-v0", episodes=50))
    args.dir.mkdir(parents=True, exist_ok=True)
    pi.save(args.dir / "reach.safetensors")
    pi, env = load_policy(args.dir / "reach.safetensors"), gym.make("MixedReach-v0")
    print("action:", pi.predict(env.reset(seed=1)[0], deterministic=True))


if __name__ == "__main__":
    main()
