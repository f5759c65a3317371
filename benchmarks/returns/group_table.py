"""Finished trainings of one group of final_policies.py as a table: what their final policies earn, beside its bars, and what must be known beside it."""

from collections import Counter

import numpy as np

from benchmarks.returns.scores import interquartile_interval, markdown_table

OF_ONE_RANK = 0.9  # of one rank's mean: what several ranks are to reach
COLLAPSED = (
    "collapsed: seeds whose final policy keeps less than half of what its training had gained at its best, the highest point of its curve over "
    "the first."
)


def policy_score(line):
    """What a final policy earns, deterministically; the mean of its last 100 training episodes where it was not played."""
    return float(np.mean(line["deterministic"])) if line.get("deterministic") else line["score"]


def collapsed(line):
    """Whether a training has lost more than half of what it had gained: see `COLLAPSED`."""
    means = [mean for _, mean in line["curve"]]
    return bool(means) and policy_score(line) < (means[0] + max(means)) / 2


def mean_and_deviation(values):
    """In words; the deviation over seeds is that of a sample."""
    return f"{np.mean(values):,.1f}" + (f" ± {np.std(values, ddof=1):,.1f}" if len(values) > 1 else "")


def interquartile(values):
    """The interquartile mean and its interval, in words; no interval of one seed."""
    middle, low, high = interquartile_interval(np.array(values))
    return f"{middle:,.1f}" + ("" if np.isnan(low) else f" ({low:,.1f} to {high:,.1f})")


def judged(value, bar):
    """A bar, and whether it is reached."""
    return "" if bar is None else f"{bar:,} {'reached' if value >= bar else 'missed'}"


def ratio(value, others):
    """Several ranks' mean beside one rank's, in words."""
    if not others:
        return "one rank has not finished"
    one = np.mean([policy_score(line) for line in others])
    return f"{value / one:.2f} of {one:,.1f} {'reached' if value >= OF_ONE_RANK * one else 'missed'}"


def row(group, env, lines, beside):
    """{column: text} of one task."""
    played = [line for line in lines if line.get("deterministic")]
    value = np.mean([policy_score(line) for line in lines])
    cells = {
        "task": env,
        "seeds": str(len(lines)),
        "100 deterministic episodes, mean ± deviation over seeds": mean_and_deviation(
            [policy_score(line) for line in played]
        )
        if played
        else "",
        "interquartile mean (95 % interval)": interquartile([policy_score(line) for line in played]) if played else "",
        "100 stochastic": f"{np.mean([line['stochastic'] for line in played]):,.1f}" if played else "",
        "last 100 of training": f"{np.mean([line['score'] for line in lines]):,.1f}",
    }
    cells |= {name: judged(value, bar) for name, bar in zip(group.bars, group.tasks.get(env, (None, None))) if name}
    if group.ranks > 1:
        cells[f"of one rank's, {OF_ONE_RANK:g} or more"] = ratio(value, [line for line in beside if line["env"] == env])
    if isinstance(group.steps, dict):
        cells |= {
            "steps": f"{lines[0]['steps']:,}",
            "episode length": f"{np.mean([line['length'] for line in lines]):,.0f}",
        }
    lost = [str(line["seed"]) for line in lines if collapsed(line)]
    return cells | {
        "collapsed": f"seed {', '.join(lost)}" if lost else "none",
        "seconds": f"{np.median([line['seconds'] for line in lines]):,.0f}",
    }


def table(group, found, beside, outdated):
    """The table, and below it what it must be read with.

    Args:
        group: the `final_policies.Group`.
        found: [(job, line)] of what has finished.
        beside: lines of one rank.
        outdated: how many lines of other settings have been left out.
    """
    rows = [
        row(group, env, [line for job, line in found if job.env == env], beside)
        for env in dict.fromkeys(job.env for job, _ in found)
    ]
    steps = sorted({job.steps for job, _ in found})
    own = {job.env: " ".join(job.words) for job, _ in found if not group.preset and job.words}
    commits = Counter(line["git_commit"] for _, line in found)
    notes = [
        COLLAPSED,
        *([f"One rank: {beside[0]['setting']}, {beside[0]['steps']:,} steps."] if beside else []),
        *([f"Numbers of a task's own: {'; '.join(f'{env} `{words}`' for env, words in own.items())}."] if own else []),
        f"Commit{'s' if len(commits) > 1 else ''}: {', '.join(f'{commit[:10]}{commit[40:]} ({count} runs)' for commit, count in commits.items())}"
        + (", a + where files had changed since" if any(commit.endswith("+") for commit in commits) else "")
        + ".",
        *([f"Left out: {outdated} runs of other settings than stand now."] if outdated else []),
    ]
    return (
        f"{found[0][0].setting}, {' or '.join(f'{one:,}' for one in steps)} steps\n\n"
        f"{markdown_table(tuple(rows[0]), [tuple(one.values()) for one in rows])}\n\n" + "\n\n".join(notes) + "\n"
    )
