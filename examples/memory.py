"""Train a policy with a memory: CartPole without velocities, which a policy can only infer from earlier observations.

Command: `python examples/memory.py`
"""

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np

from baselines_ppo import MlpPolicy, evaluate_policy, learn, load_policy

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--timesteps", type=int, default=20_000, help="environment steps of each training")
parser.add_argument("--dir", type=Path, default=Path("runs/examples/memory"), help="for all files")


class HiddenVelocities(gym.ObservationWrapper):
    """Show the position of the cart and the angle of the pole only."""

    def __init__(self):
        super().__init__(gym.make("CartPole-v1").unwrapped)
        low, high = self.env.observation_space.low, self.env.observation_space.high
        self.observation_space = gym.spaces.Box(low[[0, 2]], high[[0, 2]])

    def observation(self, observation):
        return observation[[0, 2]]


gym.register("HiddenVelocities-v0", entry_point=HiddenVelocities, max_episode_steps=500)
SETTINGS = {"timesteps_per_actorbatch": 512, "optim_batchsize": 128, "optim_stepsize": 2e-3, "gamma": 0.98, "lam": 0.9}


def main(argv=None):
    args = parser.parse_args(argv)
    args.dir.mkdir(parents=True, exist_ok=True)
    for memory in (None, "gru"):

        def policy(name, ob_space, ac_space, memory=memory):
            return MlpPolicy(name, ob_space, ac_space, memory=memory, memory_size=32, init="orthogonal")

        pi = learn("HiddenVelocities-v0", policy, max_timesteps=args.timesteps, seed=0, **SETTINGS)
        print(f"memory {memory}: {evaluate_policy(pi, 'HiddenVelocities-v0', episodes=10)}")
    pi.save(args.dir / "memory.safetensors")

    pi, env = load_policy(args.dir / "memory.safetensors"), gym.make("HiddenVelocities-v0")
    (ob, _), state, total, done = env.reset(seed=1), None, 0, False
    while not done:
        action, state = pi.predict(ob, deterministic=True, state=state)  # None at the start of an episode
        ob, reward, terminated, truncated, _ = env.step(action)
        done, total = terminated or truncated, total + reward
    print(f"one episode: return {total:g}; the state has {np.size(state)} numbers")


if __name__ == "__main__":
    main()
