"""Train with mixed spaces: an image and a vector as observation, a choice and a number as action.

Command: `python examples/mixed_spaces.py`
"""

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np

from baselines_ppo import MixedPolicy, evaluate_policy, learn, load_policy

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--timesteps", type=int, default=12_288, help="environment steps of the training")
parser.add_argument("--dir", type=Path, default=Path("runs/examples/mixed_spaces"), help="for all files")
SIDE, STEPS = 20, 4


class Reach(gym.Env):
    """Move to a goal: the image shows it as a white column, and the vector has the position."""

    observation_space = gym.spaces.Dict(
        {"map": gym.spaces.Box(0, 255, (SIDE, SIDE), np.uint8), "position": gym.spaces.Box(0, 1, (1,))}
    )
    action_space = gym.spaces.Dict({"right": gym.spaces.Discrete(2), "length": gym.spaces.Box(0, 1, (1,))})

    def _observe(self):
        image = np.zeros((SIDE, SIDE), np.uint8)
        image[:, self.goal] = 255
        return {"map": image, "position": np.array([self.position], np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.goal, self.position = int(self.np_random.integers(SIDE)), self.np_random.random()
        return self._observe(), {}

    def step(self, action):
        move = action["length"][0] if action["right"] else -action["length"][0]
        self.position = float(np.clip(self.position + move, 0, 1))
        return self._observe(), -abs(self.position - self.goal / (SIDE - 1)), False, False, {}


gym.register("MixedReach-v0", entry_point=Reach, max_episode_steps=STEPS)


def main(argv=None):
    args = parser.parse_args(argv)
    args.dir.mkdir(parents=True, exist_ok=True)
    pi = learn(
        "MixedReach-v0",
        lambda *spaces: MixedPolicy(*spaces, kind="small", init_logstd=-1),  # convolutions for images from 20 x 20
        **{"max_timesteps": args.timesteps, "optim_stepsize": 1e-3, "optim_batchsize": 128, "gamma": 0.5, "seed": 0},
    )
    print(evaluate_policy(pi, "MixedReach-v0", episodes=50))
    pi.save(args.dir / "reach.safetensors")
    pi, env = load_policy(args.dir / "reach.safetensors"), gym.make("MixedReach-v0")
    print("action:", pi.predict(env.reset(seed=1)[0], deterministic=True))  # {'length': array(...), 'right': ...}


if __name__ == "__main__":
    main()
