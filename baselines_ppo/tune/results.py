"""The results of a search: the table of its trials, the best settings as a file for --config, and Optuna's figures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from baselines_ppo.cli.command_lines import format_value
from baselines_ppo.sweep.display import format_mean_and_std
from baselines_ppo.tune.display import STATE_WORDS, format_params
from baselines_ppo.tune.trial_store import INDEX, REASON, SCORES, TrialStore
from common.storage.atomic import atomic_write
from common.storage.write_errors import user_error_on_os_error

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from rich.table import Table

BEST, TRIALS, HISTORY, IMPORTANCES = "best.json", "trials.csv", "history.png", "importances.png"
SHOWN_TRIALS = 10
MIN_IMPORTANCE_TRIALS = 10  # completed ones: the best tenth is compared with all, so that fewer show nothing


def by_score(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return trials by falling score; those without a score at the end, in order."""
    return sorted(trials, key=lambda one: -one.value if one.state.name == "COMPLETE" else float("inf"))


def outcome(one: FrozenTrial) -> str:
    """Return how a trial has ended, as text."""
    reason = f": {one.user_attrs[REASON]}" if one.state.name == "FAIL" else ""
    return STATE_WORDS[one.state.name] + reason


def print_trials(trials: Sequence[FrozenTrial], stream: TextIO) -> None:
    """Print the table of the best trials."""
    from rich.console import Console

    console = Console(file=stream, highlight=False, markup=False, width=None if stream.isatty() else 140)
    console.print(make_table(trials))


def make_table(trials: Sequence[FrozenTrial]) -> Table:
    """Return the table of the best trials."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        caption=f"return: mean ± standard deviation over seeds of the last 100 episodes; all trials: {TRIALS}",
        caption_justify="left",
    )
    table.add_column("trial", justify="right")
    table.add_column("return", justify="right")
    table.add_column("outcome", overflow="fold", max_width=40)
    table.add_column("settings", overflow="fold")
    for one in by_score(trials)[:SHOWN_TRIALS]:
        returns = format_mean_and_std(one.user_attrs.get(SCORES, ()))
        table.add_row(str(one.user_attrs[INDEX]), returns, outcome(one), format_params(one.params))
    return table


def write_trials(trials: Sequence[FrozenTrial], path: Path) -> None:
    """Write all trials as a CSV file, the best first."""
    names = list(dict.fromkeys(name for one in trials for name in one.params))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["trial", "score", "returns", "outcome", *names])
    for one in by_score(trials):
        score = one.value if one.state.name == "COMPLETE" else ""
        returns = " ".join(map(str, one.user_attrs.get(SCORES, ())))
        values = [format_value(one.params[name]) for name in names]
        table.writerow([one.user_attrs[INDEX], score, returns, outcome(one), *values])
    with user_error_on_os_error(str(path), "choose another --tune-dir"):
        atomic_write(path, text.getvalue().encode())


def write_best(settings: Mapping[str, Any], path: Path) -> None:
    """Write settings as a file for `run.py --config`."""
    with user_error_on_os_error(str(path), "choose another --tune-dir"):
        atomic_write(path, (json.dumps(settings, indent=1) + "\n").encode())


def draw_figures(store: TrialStore, folder: Path) -> None:
    """Draw Optuna's figures of the history of the search and of the importance of the settings.

    The importance is that of PED-ANOVA (Watanabe et al. 2023), which needs no further library. Its figure is left out
    if too few trials have completed.
    """
    import matplotlib

    matplotlib.use("Agg")  # no display is needed
    from matplotlib import pyplot

    optuna = store.optuna
    figures = optuna.visualization.matplotlib
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    counted = optuna.create_study(direction="maximize")
    counted.add_trials(store.ended())
    drawn = {HISTORY: figures.plot_optimization_history(counted, target_name="Return")}
    if len(store.trials("COMPLETE")) >= MIN_IMPORTANCE_TRIALS:
        drawn[IMPORTANCES] = figures.plot_param_importances(counted, evaluator=evaluator)
    for name, axes in drawn.items():
        with user_error_on_os_error(str(folder / name), "choose another --tune-dir"):
            axes.figure.savefig(folder / name, dpi=120, bbox_inches="tight")
        pyplot.close(axes.figure)
