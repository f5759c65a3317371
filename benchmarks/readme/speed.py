"""Tables of speed and memory, from results/throughput.jsonl."""

from collections.abc import Iterable, Iterator

import numpy as np

from benchmarks.markdown import markdown_table
from benchmarks.returns.result_files import Line, ResultFile

BENCHMARK = "throughput"
# rows of README.md: (machine, training, beginning of what it is compared with)
ROWS = (
    ("A", "Hopper-v4, one rank", "Stable-Baselines3"),
    ("A", "Hopper-v4, two ranks", "Stable-Baselines3"),
    ("A", "Hopper-v4, one rank", "SBX"),
    ("A", "PongNoFrameskip-v4, preset atari", "Stable-Baselines3"),
    ("B", "Hopper-v4, one rank", "environment alone"),
)


def read() -> list[Line]:
    """The committed measurements of speed and memory, in order."""
    return ResultFile(BENCHMARK).lines


def machines(lines: Iterable[Line]) -> dict[str, str]:
    """{letter: processor}."""
    return {line["machine"]: line["processor"] for line in lines}


def cells(line: Line) -> tuple[str, ...]:
    """The cells of a measurement of throughput."""
    ratios = line["ratios"]
    return (
        line["training"],
        f"{line['steps_per_second']:,}",
        line["compared_with"],
        f"{line['their_steps_per_second']:,}",
        f"{line['ratio']:.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        line["machine"],
    )


def speed_table(lines: list[Line]) -> str:
    """Five comparisons of throughput."""
    rows = []
    for machine, training, other in ROWS:
        (line,) = [
            one
            for one in lines
            if one["measure"] == "throughput"
            and (one["machine"], one["training"]) == (machine, training)
            and one["compared_with"].startswith(other)
        ]
        rows.append(cells(line))
    return markdown_table(("training", "steps/s", "compared with", "steps/s", "ratio (rounds)", "machine"), rows)


def notes(lines: list[Line]) -> Iterator[str]:
    """The machines, and what one rank needs, as sentences below the table."""
    for letter, processor in sorted(machines(lines).items()):
        yield f"Machine {letter}: {processor}."
    peaks = [value for one in lines if one["measure"] == "memory" and "peak" in one["what"] for value in one["values"]]
    yield f"Each rank needs {min(peaks):,} to {max(peaks):,} MB of memory (Hopper-v4, eight ranks)."
    yield "Ratio: median of the ratios of single rounds, not the quotient of the columns."
    yield "Minutes in the table of results are medians on one core of an unrecorded type (eight ranks: two cores), with other jobs at times."
    yield "Commands and more measurements: [benchmarks](benchmarks/README.md)."


def median_and_range(line: Line) -> str:
    """The median of the values of a measurement, with its unit and their range."""
    values, unit = line["values"], line["unit"]
    spread = f" ({min(values):g} to {max(values):g})" if len(values) > 1 else ""
    return f"{np.median(values):g} {unit}{spread}"


def current_table(lines: list[Line]) -> str:
    """All current measurements of speed and memory, for benchmarks/README.md."""
    rows = []
    for line in lines:
        if line["measure"] == "throughput":
            training, steps, other, theirs, ratio, machine = cells(line)
            what, result = f"{training}, compared with {other}", f"{steps} and {theirs} steps/s: {ratio}"
        else:
            what, result, machine = line["what"], median_and_range(line), line["machine"]
        rows.append((what, result, machine, f"`{line['command']}`"))
    return markdown_table(("measured", "result: median (rounds)", "machine", "command"), rows)
