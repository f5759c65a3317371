"""Tables of results for the pages of the documentation, from the committed tables of benchmarks/."""

import json
from pathlib import Path
from statistics import fmean

from benchmarks.readme import sections, speed, summary

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def rows_of(path: Path, first: str) -> list[dict[str, str]]:
    """Return the rows, {heading: cell}, of the tables of a page whose first heading is `first`."""
    found: list[dict[str, str]] = []
    headings: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if cells[:1] == [first]:
            headings = cells
        elif not cells:
            headings = []
        elif headings and not set(line) <= set("|-: "):
            found.append(dict(zip(headings, cells)))
    return found


def returns() -> str:
    """Final policies on nine tasks, with published PPO and notes, as in README.md, for a page two folders deeper."""
    return sections.nine_tasks(summary.read()).replace("](benchmarks/", "](../../benchmarks/")


def durations() -> list[tuple[str, ...]]:
    """Seconds of the trainings behind `returns`."""
    rows: list[tuple[str, ...]] = [("task, 1M steps, one rank", "median seconds")]
    rows += [(row["task"], row["seconds"]) for row in rows_of(RESULTS / "returns-references-table.md", "task")]
    return rows


def algorithms() -> list[tuple[str, ...]]:
    """The four algorithms on the tasks that all of them were trained on."""
    found = rows_of(RESULTS / "algorithms-table.md", "algorithm")
    complete = [name for name in found[0] if all(row.get(name) for row in found)]
    return [tuple(complete), *(tuple(row[name] for name in complete) for row in found)]


def surrogates() -> list[tuple[str, ...]]:
    """The objectives of Table 1 of the PPO paper, with time limits as termination."""
    paper = "[paper](https://arxiv.org/abs/1707.06347)"
    names = ("surrogate", "score", "95 % interval", paper)
    found = rows_of(RESULTS / "surrogates-deaths-table.md", "surrogate")
    return [names, *(tuple(row[name] for name in names) for row in found)]


def large_batches() -> list[tuple[str, ...]]:
    """The preset ppo1 with one rank and with eight: last 100 training episodes, mean over seeds 0 to 2."""
    lines = (RESULTS / "returns.jsonl").read_text(encoding="utf-8").splitlines()
    runs = [run for run in map(json.loads, lines) if run["seed"] <= 2 and run["settings"].get("preset") == "ppo1"]
    tasks = ("Hopper-v4", "HalfCheetah-v4")
    scores: dict[str, list[float]] = {}
    for name, setting, first_million in (
        ("one rank, 1M steps", "ppo1", False),
        ("eight ranks, the first 1M of 8M steps", "ppo1, 8 ranks", True),
        ("eight ranks, 8M steps: as many updates as one rank in 1M", "ppo1, 8 ranks", False),
        ("the same with `--optim-stepsize 8e-4`", "ppo1 optim_stepsize=8e-4, 8 ranks", False),
    ):
        for task in tasks:
            chosen = [run for run in runs if run["setting"] == setting and run["env"] == task]
            values = [score_within(run, 1_000_000) if first_million else run["score"] for run in chosen]
            scores.setdefault(name, []).append(fmean(values))
    return [("preset `ppo1`", *tasks), *((name, *(f"{x:,.0f}" for x in found)) for name, found in scores.items())]


def score_within(run: dict, steps: int) -> float:
    """Return the last point of a learning curve within a number of steps."""
    return [score for step, score in run["curve"] if step <= steps][-1]


def memory() -> list[tuple[str, ...]]:
    """Resident memory of the ranks of a job."""
    found = [line for line in speed.read() if line["measure"] == "memory"]
    rows = [(line["what"], f"`{line['command']}`", speed.median_and_range(line)) for line in found]
    return [("measured", "command", "result: median (rounds)"), *rows]


TABLES = {
    "durations": durations,
    "algorithms": algorithms,
    "surrogates": surrogates,
    "large-batches": large_batches,
    "memory": memory,
}
