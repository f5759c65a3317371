"""Simulate the power of a comparison: how often n seeds find a difference between two sets of settings.

    python -m benchmarks.analysis.power

Two groups of n seeds are drawn from the measured scores of the preset `mujoco`, with replacement. In one of them every score is
multiplied by a factor. A difference is found if the difference of the means of the normalised scores exceeds two standard errors
(`scores.paired_difference`, as in tuning.py --control). The measured scores already include failed seeds, so the distribution is not
assumed. Writes results/power.md and results/power.png; takes seconds.
"""

import argparse
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.markdown import markdown_table
from benchmarks.paths import RESULTS
from benchmarks.returns.figures import headless_pyplot
from benchmarks.returns.final_policies import GROUPS
from benchmarks.returns.group_table import policy_score
from benchmarks.returns.result_files import ResultFile
from benchmarks.returns.scores import lowest_quarter_mean, paired_difference, relative_to_targets

TASKS = ("Ant-v4", "HalfCheetah-v4", "Hopper-v4", "Walker2d-v4")
SEEDS = (2, 4, 8, 16, 32)
LOSSES = (0.0, 0.05, 0.1, 0.2)
REPETITIONS = 2000
SETTING = "default"


def measured_scores(tasks: Sequence[str]) -> dict[str, np.ndarray]:
    """{task: normalised scores of the seeds of the group `references`}; 1 is the task's target."""
    lines = ResultFile("returns").lines
    seeds = GROUPS["references"].seeds
    scores = {
        (line["env"], line["seed"]): policy_score(line)
        for line in lines
        if line["setting"] == SETTING and line["env"] in tasks and line["seed"] in seeds and line["steps"] == 1_000_000
    }
    relative = relative_to_targets(scores)
    return {task: np.array([x for (env, _), x in relative.items() if env == task]) for task in tasks}


def draw(scores: Mapping[str, np.ndarray], seeds: int, rng: np.random.Generator) -> dict[tuple[str, int], float]:
    """{(task, i): score} of `seeds` seeds per task, drawn with replacement."""
    return {(task, i): x for task, all_seeds in scores.items() for i, x in enumerate(rng.choice(all_seeds, seeds))}


def found(scores: Mapping[str, np.ndarray], seeds: int, loss: float, rng: np.random.Generator) -> float:
    """Fraction of comparisons that find a loss: `REPETITIONS` of them, with `seeds` seeds on each task."""
    count = 0
    for _ in range(REPETITIONS):
        changed = {key: (1 - loss) * x for key, x in draw(scores, seeds, rng).items()}
        difference = paired_difference(changed, draw(scores, seeds, rng))
        count += difference is not None and difference.mean < -2 * difference.error
    return count / REPETITIONS


def standard_error(scores: np.ndarray, seeds: int, rng: np.random.Generator) -> tuple[float, float]:
    """Standard errors of the mean and of the mean of the lowest quarter of `seeds` seeds of one task."""
    samples = rng.choice(scores, (REPETITIONS, seeds))
    return float(samples.mean(axis=1).std()), float(np.std([lowest_quarter_mean(x) for x in samples]))


def figure(power: Mapping[float, Sequence[float]], one_task: Mapping[float, Sequence[float]]) -> None:
    """Draw the fraction found against the number of seeds: four tasks together, and Hopper alone."""
    pyplot = headless_pyplot()
    drawing, panels = pyplot.subplots(1, 2, figsize=(8, 3), layout="constrained", sharey=True)
    for panel, title, values in zip(panels, ("four tasks together", "Hopper-v4 alone"), (power, one_task)):
        for loss, fractions in values.items():
            panel.plot(SEEDS, fractions, marker="o", label="no loss" if loss == 0 else f"loss of {loss:.0%}")
        panel.set_xscale("log", base=2)
        panel.set_xticks(SEEDS, [str(n) for n in SEEDS])
        panel.set_xlabel("seeds per task and setting")
        panel.set_title(title, fontsize=10)
        panel.axhline(0.8, color="gray", linewidth=0.8, linestyle="--")
    panels[0].set_ylabel("comparisons that find a loss")
    panels[1].legend(frameon=False, fontsize=8, loc="upper left")
    drawing.savefig(RESULTS / "power.png", dpi=120)
    pyplot.close(drawing)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rng = np.random.default_rng(0)
    scores = measured_scores(TASKS)
    together = {loss: [found(scores, n, loss, rng) for n in SEEDS] for loss in LOSSES}
    hopper = {loss: [found({"Hopper-v4": scores["Hopper-v4"]}, n, loss, rng) for n in SEEDS] for loss in LOSSES}
    figure(together, hopper)
    rows = [
        (name, "none" if loss == 0 else f"{loss:.0%}", *(f"{x:.0%}" for x in fractions))
        for name, values in (("four tasks", together), ("Hopper-v4", hopper))
        for loss, fractions in values.items()
    ]
    table = markdown_table(("tasks", "true loss", *(f"{n} seeds" for n in SEEDS)), rows)
    errors = markdown_table(
        ("task", *(f"{n} seeds: mean, lowest quarter" for n in SEEDS[1:4])),
        [
            (task, *("{:.2f}, {:.2f}".format(*standard_error(scores[task], n, rng)) for n in SEEDS[1:4]))
            for task in TASKS
        ],
    )
    count = min(len(x) for x in scores.values())
    (RESULTS / "power.md").write_text(
        f"""# Power: the number of seeds that a comparison needs

Written by `python -m benchmarks.analysis.power`, from the scores of {count} seeds of the preset `mujoco` on four tasks ([returns](returns.md)).

## Power of a comparison

Fraction of {REPETITIONS:,} simulated comparisons in which the difference of the means exceeds two standard errors. The row without a loss has the false alarms.

{table}

![fraction of comparisons that find a loss](power.png)

## Standard errors of one set of settings

In units of the task's target: of the mean over seeds, and of the mean of the lowest quarter of the seeds.

{errors}
"""
    )
    print(table, errors, sep="\n\n")


if __name__ == "__main__":
    main()
