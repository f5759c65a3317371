"""The results of README.md as Markdown, rendered from the summary and the published values. Tables of speed: speed.py."""

import textwrap
from collections.abc import Iterable

from benchmarks.markdown import markdown_table
from benchmarks.paper import surrogates
from benchmarks.readme.summary import Summary
from benchmarks.returns.published import BEST_ON_POLICY, BEST_PPO, CURVE, PAPER_2017, SOURCES, TIANSHOU, ZOO, Published

RESULTS = "benchmarks/results"
MEASURES = "abcdefghi"  # letters of the measures of published values, in the order of their first use
BEST_CLIPPING = "clipping, epsilon = 0.2"  # the best objective of the paper
# the measures of published.py in a few words
MEASURE_WORDS = {
    SOURCES[TIANSHOU][1]: "Highest point of the mean evaluation curve",
    SOURCES[ZOO][1]: "One final policy, 150,000 steps",
    CURVE: "Training curve of another implementation, as read by Tianshou",
}
TIME_LIMITS = {
    "death": "time limits as termination, as in the paper's code",
    "bootstrap": "bootstrapped time limits, the default here",
}
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")
ORDINALS = "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh".split(" ")  # noqa: SIM905
WIDTH = 160  # of a line of README.md


def number(value: float, like: float | None = None) -> str:
    """A return as text: no decimals from 100 up.

    Args:
        value: the return, or its spread.
        like: the return whose decimals it gets; itself if None.
    """
    return f"{value:,.0f}" if abs(value if like is None else like) >= 100 else f"{value:,.1f}"


def mean_and_std(task: Summary) -> str:
    """Mean and standard deviation over seeds; a single seed is marked."""
    spread = "(n = 1)" if task["std"] is None else f"± {number(task['std'], task['mean'])}"
    return f"{number(task['mean'])} {spread}"


def verdict(task: Summary, value: float) -> str:
    """Whether the 95 % interval of a task's mean is above a published value, below it, or includes it: level."""
    low, high = task["interval"]
    return "above" if low > value else "below" if high < value else "level"


def run_command(task: str, summary: Summary) -> str:
    """The flags that run.py needs for a result, as a code span."""
    steps = f" --num-timesteps {summary['steps']}" if task.startswith("Pong") else ""
    return f"`{' '.join(filter(None, ('--env', task, summary['flags'])))}{steps}`"


def measure_of(one: Published) -> str:
    """The measure of a published value, as published.md describes it."""
    return one.row("")[-1]


HEADER = ("`python run.py` with", "score ± std", "lowest", "95 % interval", "published PPO", "ours is", "minutes")


def task_rows(summary: Summary) -> tuple[list[tuple[str, ...]], dict[str, str]]:
    """Rows of the nine tasks with published PPO, and {measure of a published value: its letter}."""
    letters: dict[str, str] = {}
    rows = []
    for env, task in summary["returns"].items():
        published = BEST_PPO[env]
        letter = letters.setdefault(measure_of(published), MEASURES[len(letters)])
        compared = verdict(task, published.value)
        score = mean_and_std(task)
        if compared == "above":
            mean, _, spread = score.partition(" ")
            score = f"**{mean}** {spread}"
        low, high = (number(limit, task["mean"]) for limit in task["interval"])
        seeds = "seeds not given" if published.seeds is None else f"n = {published.seeds}"
        source = f"[{published.value:,}]({published.source}) ({seeds}, {letter})"
        lowest = number(min(task["scores"]))
        rows.append((run_command(env, task), score, lowest, f"{low} to {high}", source, compared, minutes(task)))
    return rows, letters


def nine_tasks(summary: Summary) -> str:
    """Scores on the nine tasks with published PPO, and their notes."""
    rows, letters = task_rows(summary)
    return f"{markdown_table(HEADER, rows)}\n\n{paragraph(notes(summary, letters))}"


def results(summary: Summary) -> str:
    """Scores on the nine tasks with published PPO, other trainings, and the repeated experiments of the paper."""
    rows, letters = task_rows(summary)
    for env in ("Hopper-v4",):
        task = summary["ranks"][env]
        count, highest = len(task["seeds"]), number(max(task["scores"]))
        label = f"with `mpirun -n 8`: {run_command(env, task)} (n = {count}, highest {highest})"
        rows.append((label, mean_and_std(task), number(min(task["scores"])), "", "", "", minutes(task)))
    for env, task in summary["long"].items():
        lowest = number(min(task["scores"]))
        training = ", last 100 training games" if task["measure"].startswith("last") else ""
        label = f"{run_command(env, task)} ({task['steps'] / 1e6:g}M steps{training})"
        rows.append((label, mean_and_std(task), lowest, "", "", "", minutes(task)))
    paper = [*surrogates_sentences(summary), *algorithms_sentences(summary)]
    return "\n\n".join([markdown_table(HEADER, rows), paragraph(notes(summary, letters)), paragraph(paper)])


def paragraph(sentences: Iterable[str]) -> str:
    """Sentences as lines of README.md."""
    return textwrap.fill(" ".join(sentences), WIDTH, break_long_words=False, break_on_hyphens=False)


def minutes(task: Summary) -> str:
    """Median duration of a training, in minutes."""
    value = task["seconds"] / 60
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def notes(summary: Summary, letters: dict[str, str]) -> Iterable[str]:
    """Sentences on the columns of the table, and on the sources of the published values."""
    tasks = summary["returns"]
    counts = sorted({len(task["seeds"]) for task in tasks.values()})
    steps = f"{next(iter(tasks.values()))['steps'] / 1e6:g}M"
    yield (
        f"Score ± standard deviation over seeds: mean return of 100 deterministic episodes of the final policy "
        f"([protocol]({RESULTS}/returns.md))."
    )
    yield f"Trainings: {steps} steps and {' to '.join(map(str, counts))} seeds. Single trainings are marked (n = 1)."
    yield "Bold: the interval is above the published value. Published values were measured differently, often on older tasks."
    for measure, letter in letters.items():
        yield f"({letter}) {MEASURE_WORDS[measure]}."
    ahead = [env for env, task in tasks.items() if verdict(task, BEST_ON_POLICY[env].value) == "below"]
    if ahead:
        names = sorted({BEST_ON_POLICY[env].algorithm for env in ahead})
        yield (
            f"Published scores of {' or '.join(names)} are higher on {enumerate_words(map(short, ahead))} "
            f"([sources]({RESULTS}/published.md))."
        )
    if "--hid-size" in tasks["Walker2d-v4"]["flags"]:
        yield "Walker2d's network was widened after five of its seeds had been trained with 64 units."
    earlier = [short(env) for part in ("returns", "long") for env, task in summary[part].items() if not task["current"]]
    if earlier:
        yield f"Trained with earlier settings than the command has now: {enumerate_words(dict.fromkeys(earlier))}."


def short(env: str) -> str:
    """The name of a task without its version."""
    return env.rpartition("-")[0]


def enumerate_words(words: Iterable[str]) -> str:
    """Words as 'a, b and c'."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def surrogates_sentences(summary: Summary) -> Iterable[str]:
    """The outcome of Table 1 of the PPO paper, with both treatments of time limits."""
    paper = {setting: score for setting, (_, score) in surrogates.SETTINGS.items()}
    yield f"The comparison of objectives in the PPO paper was repeated ([table]({RESULTS}/surrogates.md))."
    for name, words in TIME_LIMITS.items():
        part = summary["surrogates"][name]
        scores, seeds = part["scores"], len(part["seeds"])
        best, place = (
            max(scores, key=scores.__getitem__),
            1 + sum(one > scores[BEST_CLIPPING] for one in scores.values()),
        )
        text = f"With {words}, `{best}` scores highest ({'n = 1' if seeds == 1 else f'{seeds} seeds'})"
        if best == max(paper, key=paper.__getitem__):
            text += f", as [in the paper]({PAPER_2017})"
        yield text + "."
        close = [one for one, (low, _) in part.get("interval", {}).items() if low <= 0]  # of the difference to the best
        if close:
            yield f"Its difference to {enumerate_words(f'`{one}`' for one in close)} is not significant."
        if place > 1:
            yield f"In this comparison `{BEST_CLIPPING}` is {ORDINALS[place]} of {WORDS[len(scores)]}."


def algorithms_sentences(summary: Summary) -> Iterable[str]:
    """The algorithm with the highest score, for each task."""
    part = summary["algorithms"]
    best: dict[str, list[str]] = {}
    for env, scores in part["tasks"].items():
        best.setdefault(max(scores, key=scores.__getitem__), []).append(short(env))
    found = enumerate_words(f"{name} on {enumerate_words(envs)}" for name, envs in best.items())
    yield (
        f"Algorithms were compared in the style of its Figure 3 ([table]({RESULTS}/algorithms.md), "
        f"{len(part['seeds'])} seeds)."
    )
    yield f"The highest mean is that of {found}."
