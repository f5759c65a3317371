"""The report's texts and numbers: headline metrics, evaluations, settings, versions, commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from baselines_ppo.cli.command_lines import TOOL, play_command, report_command, resume_command
from baselines_ppo.config.config_files import LEARN_FORMAT
from baselines_ppo.config.registry import SETTINGS, SETTINGS_BY_GROUP, STOP_SETTINGS
from baselines_ppo.config.setting_fields import GROUPS
from baselines_ppo.experiment.progress import last_value, progress_text
from baselines_ppo.report.figures import WINDOW
from common.formatting import format_duration, format_number
from common.runs.results import RunResults
from common.runs.tables import read_progress


def format_optional(value: float | None) -> str:
    """Return a number as text, or a dash if it is unknown."""
    return "–" if value is None or not np.isfinite(value) else format_number(value)


def format_timestamp(moment: str | None) -> str:
    """Return an ISO 8601 time without seconds and time zone; an empty text if it is unknown."""
    return (moment or "")[:16].replace("T", " ")


def headline_metrics(run: RunResults, evaluations: Mapping[str, np.ndarray]) -> list[tuple[str, str, str]]:
    """Return [(label, value, note)] of the report's first lines."""
    steps, seconds, episodes = (last_value(run, quantity) for quantity in ("steps", "time", "episodes"))
    curve = run.curve
    known = np.isfinite(curve.returns) if curve is not None else np.zeros(0, bool)
    window = min(WINDOW, int(known.sum()))
    best = at = None
    if curve is not None and "steps" in curve.axes:
        at, means = curve.points("steps", WINDOW)
        if not curve.is_moving_average:
            at, means = at[window - 1 :], means[window - 1 :]  # means of fewer episodes are too noisy
        at, best = at[means.argmax()], means.max()
    averaged = curve is not None and curve.is_moving_average
    mean_of = "mean in progress.csv" if averaged else f"mean of {window} episodes"
    rows = [
        (
            "final return",
            format_optional(curve.final_return(WINDOW) if curve is not None else None),
            f"last {mean_of}" if window else "no finished episode yet",
        ),
        ("best return", format_optional(best), f"best {mean_of}, at {at:,.0f} steps" if best is not None else ""),
    ]
    if evaluations:
        i = best_evaluation(evaluations)
        rows.append(
            (
                "best evaluation",
                format_optional(evaluations["EvalRewMean"][i]),
                f"at {evaluations['TimestepsSoFar'][i]:,.0f} steps",
            )
        )
    so_far = ", ".join(filter(None, (progress_text(run)[0], "" if episodes is None else f"{episodes:,.0f} episodes")))
    return [
        *rows,
        ("steps", "–" if steps is None else f"{steps:,.0f}", so_far),
        ("time", "–" if seconds is None else format_duration(seconds), "h:mm:ss"),
        ("steps per second", f"{steps / seconds:,.0f}" if steps and seconds else "–", "from start to end"),
    ]


def read_evaluations(folder: str | Path) -> dict[str, np.ndarray]:
    """Return {column: [rows] float64} of the rows of evaluations.csv that have a score; {} if there are none."""
    path = Path(folder) / "evaluations.csv"
    columns = read_progress(path) if path.exists() else {}
    if not {"TimestepsSoFar", "EvalRewMean"} <= columns.keys():
        return {}
    known = np.isfinite(columns["EvalRewMean"])
    return {name: column[known] for name, column in columns.items()} if known.any() else {}


def best_evaluation(evaluations: Mapping[str, np.ndarray]) -> int:
    """Return the number of the first row with the highest mean."""
    return int(np.argmax(evaluations["EvalRewMean"]))


def evaluation_rows(evaluations: Mapping[str, np.ndarray], limit: int = 10) -> list[dict[str, Any]]:
    """Return the rows of the table: the last `limit` evaluations, preceded by the best one if it is older."""
    if not evaluations:
        return []
    n, best = len(evaluations["EvalRewMean"]), best_evaluation(evaluations)
    recent = range(max(0, n - limit), n)

    def row(i: int) -> dict[str, Any]:
        cell = {
            name: format_optional(evaluations[column][i] if column in evaluations else None)
            for name, column in (
                ("mean", "EvalRewMean"),
                ("deviation", "EvalRewStd"),
                ("lowest", "EvalRewMin"),
                ("highest", "EvalRewMax"),
                ("length", "EvalLenMean"),
            )
        }
        return cell | {"steps": f"{evaluations['TimestepsSoFar'][i]:,.0f}", "best": i == best, "apart": i not in recent}

    return [row(i) for i in ([] if best in recent else [best]) + [*recent]]


def setting_groups(run: RunResults) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return [(group, rows)], every setting with its value and description, in the groups of `--help`."""
    explicit = run.config.get("typed") or {}
    left = {name: value for name, value in run.settings.items() if name != "ranks"}
    found: list[tuple[str, list[tuple[str, Any]]]] = []
    for group, title in GROUPS.items():
        found.append((title, [(one.name, left.pop(one.name)) for one in SETTINGS_BY_GROUP[group] if one.name in left]))
    found.append(("more", [*left.items()]))
    return [
        (
            group,
            [
                {
                    "name": name,
                    "value": format_setting(value),
                    "doc": SETTINGS[name].info.doc if name in SETTINGS else "",
                    "explicit": name in explicit,
                }
                for name, value in rows
            ],
        )
        for group, rows in found
        if rows
    ]


def format_setting(value: Any) -> str:
    """Return a setting's value as it is given on the command line."""
    return value if isinstance(value, str) else "none" if value is None else json.dumps(value)


def version_rows(run: RunResults) -> list[tuple[str, str]]:
    """Return [(name, version)], with the commit, the platform and the command line."""
    more = {
        "git commit": run.config.get("git_commit"),
        "platform": run.config.get("platform"),
        "command line": shlex.join(map(str, run.config.get("argv") or [])),
    }
    return [(name, value) for name, value in ((run.config.get("versions") or {}) | more).items() if value]


def commands(run: RunResults) -> list[tuple[str, str]]:
    """Return [(what it does, command)] to resume, play and compare a run."""
    folder = run.directory.resolve()
    found: list[tuple[str, str]] = []
    path = shlex.quote(str(folder))
    if run.settings:
        limit = next((name for name in STOP_SETTINGS if run.settings.get(name)), None)
        longer = f" --{limit.replace('_', '-')} {2 * run.settings[limit]}" if limit and progress_text(run)[1] else ""
        found += [
            (
                "Resume, for twice the length:" if longer else "Resume:",
                resume_command(folder, run.config.get("ranks") or 1) + longer,
            ),
            ("Play the policy:", play_command(folder)),
        ]
        if (run.directory / "best" / "policy.safetensors").exists():
            found.append(("Play the best policy:", play_command(folder / "best")))
        found.append(("View in TensorBoard:", f"tensorboard --logdir {path}/tb"))
    if run.config.get("format") == LEARN_FORMAT:
        del found[0]  # only the script that called learn() can continue it
    return [
        *found,
        ("Compare with other runs:", f"{TOOL}.plot {path} OTHER_RUN ..."),
        ("Update this page:", report_command(folder)),
    ]


def subtitle(run: RunResults) -> str:
    """Return algorithm, preset, network, seed and ranks, as far as they are known."""
    s = run.settings
    if not s:
        return "without config.json"
    alg = f"{s.get('alg')} ({s['objective']})" if s.get("objective") else str(s.get("alg"))
    ranks = run.config.get("ranks") or 1
    parts = (alg, f"preset {s.get('preset')}", f"{s.get('policy')} policy", f"seed {s.get('seed')}")
    return f"{', '.join(parts)}, {ranks} rank{'s' if ranks > 1 else ''}"
