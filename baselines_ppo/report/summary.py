"""What the report says of a run in words and numbers: headline, evaluations, settings, versions, commands."""

import json
import shlex
from pathlib import Path

import numpy as np

from baselines_ppo.cli.command_lines import TOOL, play_command, report_command, resume_command
from baselines_ppo.config.config_files import LEARN_FORMAT
from baselines_ppo.config.registry import SETTINGS, SETTINGS_BY_GROUP, STOP_SETTINGS
from baselines_ppo.config.setting_fields import GROUPS
from baselines_ppo.experiment.progress import last_value, progress_text
from baselines_ppo.report.figures import WINDOW
from common.formatting import format_duration, format_number
from common.runs.tables import read_progress


def shown(value):
    """A figure, or a dash for one that is not known."""
    return "–" if value is None or not np.isfinite(value) else format_number(value)


def format_timestamp(moment):
    """An ISO 8601 time, as config.json has it, for people; empty if it is not known."""
    return (moment or "")[:16].replace("T", " ")


def headline_metrics(run, evaluations):
    """[(label, value, note)] of what one wants to know first."""
    steps, seconds, episodes, curve = last_value(run, "steps"), last_value(run, "time"), last_value(run, "episodes"), run.curve
    known = np.isfinite(curve.returns) if curve is not None else np.zeros(0, bool)
    window = min(WINDOW, int(known.sum()))
    best = at = None
    if curve is not None and "steps" in curve.axes:
        at, means = curve.points("steps", WINDOW)
        if not curve.is_moving_average:
            at, means = at[window - 1 :], means[window - 1 :]  # means of fewer are luck
        at, best = at[means.argmax()], means.max()
    averaged = curve is not None and curve.is_moving_average
    mean_of = "mean in progress.csv" if averaged else f"mean of {window} episodes"
    rows = [
        (
            "final return",
            shown(curve.final_return(WINDOW) if curve is not None else None),
            f"last {mean_of}" if window else "no finished episode yet",
        ),
        ("best return", shown(best), f"best {mean_of}, at {at:,.0f} steps" if best is not None else ""),
    ]
    if evaluations:
        i = best_evaluation(evaluations)
        rows.append(
            (
                "best evaluation",
                shown(evaluations["EvalRewMean"][i]),
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


def read_evaluations(folder):
    """{column: [rows] float64} of evaluations.csv, those rows that have a score; {} if there is none."""
    path = Path(folder) / "evaluations.csv"
    columns = read_progress(path) if path.exists() else {}
    if not {"TimestepsSoFar", "EvalRewMean"} <= columns.keys():
        return {}
    known = np.isfinite(columns["EvalRewMean"])
    return {name: column[known] for name, column in columns.items()} if known.any() else {}


def best_evaluation(evaluations):
    """Number of the first row with the highest mean."""
    return int(np.argmax(evaluations["EvalRewMean"]))


def evaluation_rows(evaluations, most=10):
    """Rows of the table: the last ones, and the best, which stands apart before them if it is older."""
    if not evaluations:
        return []
    n, best = len(evaluations["EvalRewMean"]), best_evaluation(evaluations)
    recent = range(max(0, n - most), n)

    def row(i):
        cell = {
            name: shown(evaluations[column][i] if column in evaluations else None)
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


def setting_groups(run):
    """[(concern, rows)]: every setting with its value and meaning, as `--help` groups them."""
    typed, left = (
        run.config.get("typed") or {},
        {name: value for name, value in run.settings.items() if name != "ranks"},
    )
    found = []
    for group, title in GROUPS.items():
        found.append((title, [(one.name, left.pop(one.name)) for one in SETTINGS_BY_GROUP[group] if one.name in left]))
    found.append(("more", [*left.items()]))
    return [
        (
            concern,
            [
                {"name": name, "value": in_words(value), "doc": SETTINGS[name].info.doc if name in SETTINGS else "", "typed": name in typed}
                for name, value in rows
            ],
        )
        for concern, rows in found
        if rows
    ]


def in_words(value):
    """A setting's value as one would type it."""
    return value if isinstance(value, str) else "none" if value is None else json.dumps(value)


def version_rows(run):
    """[(what, version)], the commit, the machine and the command line among them."""
    more = {
        "git commit": run.config.get("git_commit"),
        "platform": run.config.get("platform"),
        "command line": shlex.join(map(str, run.config.get("argv") or [])),
    }
    return [(name, value) for name, value in ((run.config.get("versions") or {}) | more).items() if value]


def commands(run):
    """[(what it does, command)] to go on with a run, watch it, compare it."""
    folder, found = run.directory.resolve(), []
    path = shlex.quote(str(folder))
    if run.settings:
        limit = next((name for name in STOP_SETTINGS if run.settings.get(name)), None)
        longer = f" --{limit.replace('_', '-')} {2 * run.settings[limit]}" if limit and progress_text(run)[1] else ""
        found += [
            (
                "Resume, twice as far:" if longer else "Resume:",
                resume_command(folder, run.config.get("ranks") or 1) + longer,
            ),
            ("Play the policy:", play_command(folder)),
        ]
        if (run.directory / "best" / "policy.safetensors").exists():
            found.append(("Play the best policy:", play_command(folder / "best")))
        found.append(("Watch in TensorBoard:", f"tensorboard --logdir {path}/tb"))
    if run.config.get("format") == LEARN_FORMAT:
        del found[0]  # nobody but its own script can go on with it
    return [
        *found,
        ("Compare with others:", f"{TOOL}.plot {path} OTHER_RUN ..."),
        ("Draw this page again:", report_command(folder)),
    ]


def subtitle(run):
    """Algorithm, preset, network, seed and ranks, as far as they are known."""
    s = run.settings
    if not s:
        return "without config.json"
    alg = f"{s.get('alg')} ({s['objective']})" if s.get("objective") else str(s.get("alg"))
    ranks = run.config.get("ranks") or 1
    return f"{alg}, preset {s.get('preset')}, {s.get('policy')} policy, seed {s.get('seed')}, {ranks} rank{'s' if ranks > 1 else ''}"
