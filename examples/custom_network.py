"""Train a custom network: ReLU layers that policy and value share, with a residual connection.

Command: `python examples/custom_network.py`
"""

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_ppo import Policy, evaluate_policy, learn

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--timesteps", type=int, default=50_000, help="environment steps of the training")
parser.add_argument("--dir", type=Path, default=Path("runs/examples/custom_network"), help="for all files")


class ResidualPolicy(Policy):
    """x = relu(W1 ob), x = x + relu(W2 x); the action's parameters and the value are linear in x."""

    def __init__(self, name, ob_space, ac_space, width=64):
        super().__init__(name, ob_space, ac_space, keep_images=False)
        self.width = width
        (n,), (p,) = self.network_encoder.shape, self.pdtype.param_shape()
        shapes = {"first": (n, width), "second": (width, width), "pol": (width, p), "vf": (width, 1)}
        self.w = {layer: tf.Variable(tf.zeros(shape), name=layer) for layer, shape in shapes.items()}
        self.initialise(np.random.default_rng(0))

    def settings(self):
        return {"width": self.width}  # a policy file needs the arguments of __init__

    def initialise(self, rng):
        for layer, w in self.w.items():  # a small last layer: the first actions are almost uniform
            scale = 0.01 if layer == "pol" else 1.0
            w.assign((scale * rng.standard_normal(w.shape) / np.sqrt(w.shape[0])).astype(np.float32))

    def forward(self, ob):
        x = tf.nn.relu(tf.matmul(tf.cast(ob, tf.float32), self.w["first"]))
        x = x + tf.nn.relu(tf.matmul(x, self.w["second"]))
        return tf.matmul(x, self.w["pol"]), tf.matmul(x, self.w["vf"])[:, 0]


def main(argv=None):
    args = parser.parse_args(argv)
    settings = {"timesteps_per_actorbatch": 1024, "optim_stepsize": 1e-3, "schedule": "linear", "vf_coef": 0.1}
    pi = learn("CartPole-v1", ResidualPolicy, max_timesteps=args.timesteps, seed=0, **settings)
    args.dir.mkdir(parents=True, exist_ok=True)
    pi.save(args.dir / "residual.safetensors")
    loaded = ResidualPolicy.load(args.dir / "residual.safetensors")
    observations = np.stack([gym.make("CartPole-v1").reset(seed=seed)[0] for seed in range(8)])
    assert np.array_equal(pi.vpred(observations), loaded.vpred(observations))
    print(f"{sum(int(np.prod(w.shape)) for w in loaded.w.values()):,} weights, saved and loaded from {args.dir}")
    print("evaluation:", evaluate_policy(loaded, "CartPole-v1", episodes=20))


if __name__ == "__main__":
    main()
