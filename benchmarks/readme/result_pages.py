"""Tables of the pages in benchmarks/results that show the same results as README.md."""

from collections.abc import Iterable

from benchmarks.markdown import markdown_table
from benchmarks.paper import surrogates
from benchmarks.readme.sections import number, verdict
from benchmarks.readme.summary import Summary
from benchmarks.returns.published import BEST_ON_POLICY, BEST_PPO, PAPER_2017, Published
from benchmarks.returns.scores import FAILED, relative_to_targets


def nine_tasks(summary: Summary) -> str:
    """Scores on the nine tasks and the best published returns, for returns.md."""
    rows = []
    for env, task in summary["returns"].items():
        row = (env, number(task["mean"]), number(min(task["scores"])), failed(env, task["scores"]))
        rows.append((*row, *(_published(task, best[env]) for best in (BEST_PPO, BEST_ON_POLICY))))
    seeds = max(len(task["seeds"]) for task in summary["returns"].values())
    header = ("task", f"{seeds} seeds", "lowest", "failed", "published PPO", "published, any on-policy")
    return markdown_table(header, rows)


def _published(task: Summary, one: Published) -> str:
    return f"[{one.value:,}]({one.source}) {verdict(task, one.value)}"


def failed(env: str, scores: Iterable[float]) -> str:
    """The number of failed trainings: below half of the task's target, relative to an untrained policy."""
    relative = relative_to_targets({(env, i): score for i, score in enumerate(scores)}).values()
    count = sum(one < FAILED for one in relative)
    return f"{count} of {len(relative)}" if count else "none"


def objectives(summary: Summary) -> str:
    """Scores of the objectives with both treatments of time limits, for surrogates.md."""
    parts = summary["surrogates"]
    rows = []
    for setting, (_, paper) in surrogates.SETTINGS.items():
        cells = [f"{parts[name]['scores'][setting]:.2f}" for name in ("death", "bootstrap")]
        rows.append((setting, cells[0], f"[{paper:.2f}]({PAPER_2017})", cells[1]))
    seeds = {name: len(part["seeds"]) for name, part in parts.items()}
    counts = {name: "1 seed (n = 1)" if count == 1 else f"{count} seeds" for name, count in seeds.items()}
    header = (
        "surrogate",
        f"time limits as termination, {counts['death']}",
        "paper",
        f"bootstrapped, {counts['bootstrap']}",
    )
    return markdown_table(header, rows)
