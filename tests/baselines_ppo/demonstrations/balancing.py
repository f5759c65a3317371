"""Demonstrations of CartPole-v1 by a linear rule that balances the pole for 500 steps."""

import gymnasium as gym

from baselines_ppo import DemonstrationRecorder

WEIGHTS = (0.02, 0.05, 1.0, 0.5)  # of position, velocity, angle and angular velocity


def demonstrations(episodes):
    """Return that many episodes, of 500 steps each."""
    recorder = DemonstrationRecorder(gym.make("CartPole-v1"))
    for episode in range(episodes):
        ob, _ = recorder.reset(seed=episode)
        ended = False
        while not ended:
            push = sum(w * x for w, x in zip(WEIGHTS, ob)) > 0
            ob, _, terminated, truncated, _ = recorder.step(int(push))
            ended = terminated or truncated
    return recorder.demonstrations()
