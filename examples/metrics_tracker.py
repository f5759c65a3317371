"""Send the metrics of every iteration to an experiment tracker, by a callback.

Command: `python examples/metrics_tracker.py`

`JsonTracker` replaces the tracker here. A run of Weights & Biases has the same method `log(metrics, step=...)`; for
MLflow, call `mlflow.log_metrics(metrics, step=...)` in its place.
"""

import argparse
import json
import math
from pathlib import Path

from baselines_ppo import Callback, learn

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--timesteps", type=int, default=50_000, help="environment steps of the training")
parser.add_argument("--dir", type=Path, default=Path("runs/examples/metrics_tracker"), help="for all files")


class JsonTracker:
    """Writes one line of JSON per call of `log`."""

    def __init__(self, path):
        self.file = path.open("w")

    def log(self, metrics, step):
        self.file.write(json.dumps({"step": step, **metrics}) + "\n")

    def finish(self):
        self.file.close()


class SendMetrics(Callback):
    """Sends the columns of `progress.csv`. Rank 0 sends, because all ranks have the same values."""

    def __init__(self, tracker):
        self.tracker = tracker

    def after_iteration(self, training, stats):
        if training.comm.rank == 0:
            metrics = {name: value for name, value in stats.items() if math.isfinite(value)}
            self.tracker.log(metrics, step=training.timesteps_so_far)

    def close(self):  # also called if the training fails
        self.tracker.finish()


def main(argv=None):
    args = parser.parse_args(argv)
    args.dir.mkdir(parents=True, exist_ok=True)
    path = args.dir / "metrics.jsonl"
    learn("CartPole-v1", "MlpPolicy", max_timesteps=args.timesteps, callback=SendMetrics(JsonTracker(path)), seed=0)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    print(f"{len(rows)} rows with {', '.join(rows[-1])} in {path}")


if __name__ == "__main__":
    main()
