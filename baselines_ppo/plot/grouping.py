"""Which runs belong to one curve, and which differences between curves are more than chance."""

import difflib
import itertools
import json
import re

import numpy as np

from baselines_ppo.config.registry import NOT_GROUPABLE, STRUCTURAL
from baselines_ppo.plot.caveats import caveats
from common.errors import UserError
from common.formatting import format_number
from common.runs.results import find_runs
from common.runtime.tf_import import without_warnings

LEVEL = 0.05  # of every interval and test


# ---- which run belongs to which curve


def load(paths):
    """The runs at the paths, each once, whatever number of paths leads there; and {environment: [runs]}.

    Returns:
        (environments, notes): runs by the id of their environment, and what was left out or taken for granted, in lines.

    Raises:
        UserError: if a path holds no run, or a file cannot be read.
    """
    runs = list({run.path.resolve(): run for path in paths for run in find_runs(path)}.values())
    notes = [f"{run.path} has no finished episode yet: left out" for run in runs if run.curve is None]
    runs = [run for run in runs if run.curve is not None]
    if not runs:
        raise UserError(f"{', '.join(map(str, paths))}: no finished episode yet; come back later")
    known = sorted({run.env for run in runs if run.env})
    environments = {}
    for run in runs:
        env = run.env or (known[0] if len(known) == 1 else "unknown environment")
        if run.env is None and len(known) == 1:
            notes.append(f"{run.path} does not name its environment: taken for {env}, as the others")
        environments.setdefault(env, []).append(run)
    return dict(sorted(environments.items())), notes


def grouped(environments, key=None):
    """{environment: {group: [runs]}}.

    Args:
        environments: {environment: [runs]}.
        key: the setting that makes the groups; None: those that differ among the runs of an environment. Without config.json the folder's name
            stands for them, without a seed at its end.

    Raises:
        UserError: if no run has the setting.
    """
    runs = [run for several in environments.values() for run in several]
    names = sorted({name for run in runs for name in run.settings})
    if key is not None and key not in names:
        near = difflib.get_close_matches(key, names, n=3)
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else f"there are {', '.join(names)}"
            if names
            else "there is no config.json"
        )
        raise UserError(f"--group {key}: no run has this setting; {hint}")
    keys = [key] if key is not None else differing(environments)
    found = {}
    for env, several in environments.items():
        groups = found.setdefault(env, {})
        for run in several:
            groups.setdefault(group_name(run, keys), []).append(run)
        found[env] = dict(sorted(groups.items()))
    return found


def differing(environments):
    """Names of the settings that differ among the runs of any environment and are not just what a preset or another made of them."""
    found = []
    for runs in environments.values():
        configured = [run for run in runs if run.settings]
        for name in dict.fromkeys(name for run in configured for name in run.settings):
            values = {json.dumps(run.settings[name], sort_keys=True) for run in configured if name in run.settings}
            if len(values) > 1 and name not in NOT_GROUPABLE and name not in found:
                found.append(name)
    typed = {name for runs in environments.values() for run in runs for name in run.config.get("typed") or {}}
    kept = [name for name in found if name in STRUCTURAL or name in typed] or found
    return [name for name in kept if name != "alg" or "preset" not in kept]  # a preset is of one algorithm


def group_name(run, keys):
    """The name of the curve that a run belongs to."""
    if not run.settings:
        name = run.directory.resolve().name
        return re.sub(r"[-_.]?seed[-_=]?\d+$", "", name) or run.directory.resolve().parent.name
    if not keys:
        return str(run.settings.get("preset"))
    return ", ".join(
        f"{run.settings.get(key)}" if key in ("preset", "alg") else f"{key}={run.settings.get(key)}" for key in keys
    )


# ---- figures of a group, and of a pair of them


def compare(groups, episodes=100):
    """Final returns of all groups, and Welch's t-test of each pair that has at least two seeds each.

    Args:
        groups: {environment: {group: [runs]}}.
        episodes: how many last episodes a run's final return is the mean of.

    Returns:
        A dict that can be written as JSON.
    """
    finals = {
        env: {name: np.array([run.curve.final_return(episodes) for run in runs]) for name, runs in several.items()}
        for env, several in groups.items()
    }
    found = {
        env: {
            "groups": {
                name: {
                    "seeds": len(x),
                    **figures(x),
                    "returns": x.tolist(),
                    "runs": [str(run.path) for run in groups[env][name]],
                }
                for name, x in several.items()
            },
            "comparisons": [
                welch(a, several[a], b, several[b])
                for a, b in itertools.combinations(several, 2)
                if min(len(several[a]), len(several[b])) > 1
            ],
            "untested": [name for name, x in several.items() if len(x) < 2] if len(several) > 1 else [],
            "cautions": caveats(groups[env]),
        }
        for env, several in finals.items()
    }
    tests = [one for env in found.values() for one in env["comparisons"]]
    holm = holm_correction([one["p"] for one in tests])
    for one, p in zip(tests, holm):
        one["p_holm"] = p
        one["differ"] = p is not None and p < LEVEL
        one["statement"] = describe_comparison(one, corrected=len(tests) > 1)
    return {
        "final_episodes": episodes,
        "level": LEVEL,
        "test": "Welch's t-test, two-sided",
        "correction": f"Holm, over {len(tests)} comparisons" if len(tests) > 1 else None,
        "environments": found,
    }


def figures(x):
    """Mean, deviation, Student's 95 % interval of the mean, and the best of final returns [seeds]; None for what one seed cannot tell."""
    if len(x) < 2:
        return {"mean": float(x.mean()), "deviation": None, "interval": None, "best": float(x.max())}
    from scipy import stats

    deviation = float(x.std(ddof=1))
    half = float(stats.t.ppf(1 - LEVEL / 2, len(x) - 1)) * deviation / len(x) ** 0.5
    return {
        "mean": float(x.mean()),
        "deviation": deviation,
        "interval": [float(x.mean()) - half, float(x.mean()) + half],
        "best": float(x.max()),
    }


def welch(name_a, a, name_b, b):
    """Welch's t-test of final returns [seeds]: the better group first. `p` and `interval` are None where no seed differs from another of its group."""
    if a.mean() < b.mean():
        name_a, a, name_b, b = name_b, b, name_a, a
    found = {"a": name_a, "b": name_b, "difference": float(a.mean() - b.mean()), "interval": None, "p": None}
    if a.std() or b.std():
        from scipy import stats

        with without_warnings():  # one group without deviation is fine, where the other has some
            test = stats.ttest_ind(a, b, equal_var=False)
        found |= {"interval": [float(x) for x in test.confidence_interval(1 - LEVEL)], "p": float(test.pvalue)}
    return found


def holm_correction(p):
    """p-values [M] as they are after Holm's correction for M tests; None stays None. Holm 1979."""
    tested = sorted((value, i) for i, value in enumerate(p) if value is not None)
    corrected, highest = [None] * len(p), 0.0
    for rank, (value, i) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * value))
        corrected[i] = highest
    return corrected


def describe_comparison(one, corrected):
    """What a comparison says, in words."""
    a, b, difference = one["a"], one["b"], format_number(one["difference"])
    if one["p"] is None:
        if one["difference"] == 0:
            return f"{a} and {b} cannot be told apart: every seed of both ended at the same return"
        return f"{a} is ahead of {b} by {difference}, but no seed of either differs from another of its group: there is nothing to test against"
    after = f", {p_value(one['p_holm'])} after Holm's correction" if corrected else ""
    low, high = (format_number(x) for x in one["interval"])
    details = f"95 % interval {low} to {high}, {p_value(one['p'])}{after}, Welch's t-test"
    if one["differ"]:
        return f"{a} is better than {b} by {difference} ({details})"
    return f"{a} and {b} cannot be told apart: difference {difference} ({details})"


def p_value(p):
    """p in words."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"
