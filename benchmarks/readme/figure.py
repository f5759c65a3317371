"""The figure of README.md: the score of each seed's final policy on nine tasks, drawn from the summary."""

import hashlib
import json
from pathlib import Path

import numpy as np

from benchmarks import paths
from benchmarks.readme.summary import Summary
from benchmarks.returns.figures import headless_pyplot
from benchmarks.returns.published import BEST_PPO

NAME = "final-policies.png"
KEY = "Description"  # of the PNG's text that holds the digest of the data
COLUMNS = 5


def path() -> Path:
    """Path of the figure."""
    return paths.RESULTS / NAME


def digest(summary: Summary) -> str:
    """Digest of everything that the figure shows. It is in the figure, so that an old figure is found."""
    tasks = {env: (task["scores"], task["interval"]) for env, task in summary["returns"].items()}
    data = [tasks, {env: BEST_PPO[env].value for env in tasks}]
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()


def recorded_digest() -> str:
    """The digest in the committed figure."""
    from PIL import Image

    with Image.open(path()) as image:
        return image.info.get(KEY, "")


def draw(summary: Summary) -> None:
    """Draw one panel per task: a point for each seed, the mean with its 95 % interval, the published value as a line."""
    pyplot = headless_pyplot()
    tasks = summary["returns"]
    rows = -(-(len(tasks) + 1) // COLUMNS)  # one more for the legend
    figure, panels = pyplot.subplots(rows, COLUMNS, figsize=(10, 2.4 * rows), layout="constrained")
    for panel, (env, task) in zip(panels.flat, tasks.items()):
        scores, (low, high) = np.array(task["scores"]), task["interval"]
        x = np.linspace(-0.5, 0.5, len(scores))
        panel.plot(x, scores, "o", color="#7aa6c2", markersize=4, label="one seed")
        error = [[task["mean"] - low], [high - task["mean"]]]
        panel.errorbar(
            [0.8],
            [task["mean"]],
            yerr=error,
            fmt="D",
            color="#1f3d52",
            markersize=5,
            capsize=4,
            label="mean, 95 % interval",
        )
        value = BEST_PPO[env].value
        panel.axhline(value, color="#b5483a", linestyle="--", linewidth=1, label="published PPO")
        panel.set_title(env, fontsize=9)
        panel.set_xlim(-0.8, 1.2)
        panel.set_xticks([0, 0.8], ["seeds", "mean"], fontsize=8)
        panel.tick_params(axis="y", labelsize=8)
        panel.margins(y=0.15)
        if np.ptp([*scores, value]) == 0:
            panel.set_ylim(0, 1.1 * value)
    for panel in panels.flat[len(tasks) :]:
        panel.set_axis_off()
    handles, labels = panels.flat[0].get_legend_handles_labels()
    panels.flat[len(tasks)].legend(handles, labels, frameon=False, fontsize=9, loc="center")
    figure.supylabel("mean return of 100 deterministic episodes", fontsize=9)
    figure.savefig(path(), dpi=100, metadata={KEY: digest(summary)})
    pyplot.close(figure)
