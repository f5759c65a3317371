"""Export a policy as a TensorFlow SavedModel, and use it in a process that has TensorFlow alone.

Command: `python examples/export_and_serve.py`

The directory of numbered versions is what TensorFlow Serving reads: each call of this example adds a version.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

from baselines_ppo import export_saved_model, learn

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--timesteps", type=int, default=50_000, help="environment steps of the training")
parser.add_argument("--dir", type=Path, default=Path("runs/examples/export_and_serve"), help="for all files")

SERVE = """
import sys
import numpy as np
import tensorflow as tf
act = tf.saved_model.load(sys.argv[1]).signatures["act"]
out = act(observation=tf.constant(np.load(sys.argv[2])))
np.save(sys.argv[3], out["action"].numpy())
assert "baselines_ppo" not in sys.modules
"""


def main(argv=None):
    args = parser.parse_args(argv)
    args.dir.mkdir(parents=True, exist_ok=True)
    pi = learn("CartPole-v1", "MlpPolicy", max_timesteps=args.timesteps, schedule="linear", seed=0)
    version = 1 + max((int(path.name) for path in (args.dir / "cartpole").glob("[0-9]*")), default=0)
    model = args.dir / "cartpole" / str(version)
    export_saved_model(pi, model)

    observations = np.random.default_rng(0).uniform(-0.2, 0.2, (16, 4)).astype(np.float32)
    np.save(args.dir / "observations.npy", observations)
    files = [model, args.dir / "observations.npy", args.dir / "actions.npy"]
    subprocess.run([sys.executable, "-c", SERVE, *map(str, files)], check=True)
    served, expected = np.load(args.dir / "actions.npy"), pi.predict(observations, deterministic=True)
    print(f"the actions of {model} for {len(served)} observations: {served}")
    print(f"they are {'equal to' if np.array_equal(served, expected) else 'different from'} those of predict()")


if __name__ == "__main__":
    main()
