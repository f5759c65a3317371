"""The table of a comparison on the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

from baselines_ppo.plot.significance import ALPHA
from common.formatting import format_number

if TYPE_CHECKING:
    from rich.table import Table


def print_table(found: Mapping[str, Any], stream: TextIO) -> None:
    """Print the result of `compare`: a table of final returns, the tests, and caveats."""
    from rich.console import Console

    console = Console(file=stream, highlight=False, markup=False, width=None if stream.isatty() else 160)
    console.print(make_table(found))
    for env, one in found["environments"].items():
        for pair in one["comparisons"]:
            console.print(f"{env}: {pair['statement']}", soft_wrap=True)
        if one["untested"]:
            console.print(
                f"{env}: a test needs at least two seeds in each group; one seed: {'; '.join(one['untested'])}",
                soft_wrap=True,
            )
        for caveat in one["cautions"]:
            console.print(f"{env}: {caveat}", soft_wrap=True)
    if found["correction"]:
        console.print(
            f"significant at p < {ALPHA} after correction ({found['correction']}); each interval is for one pair alone",
            soft_wrap=True,
        )


def make_table(found: Mapping[str, Any]) -> Table:
    """Return the table of final returns of the result of `compare`."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=f"final return: mean of the last {found['final_episodes']} episodes",
        title_justify="left",
        caption="standard deviation and 95 % interval (Student's) are over seeds",
        caption_justify="left",
    )
    for heading in ("environment", "group"):
        table.add_column(heading, overflow="fold")
    for heading in ("seeds", "mean ± std", "95 % interval", "best"):
        table.add_column(heading, justify="right")
    for env, one in found["environments"].items():
        for name, x in one["groups"].items():
            deviation = f" ± {format_number(x['deviation'])}" if x["deviation"] is not None else ""
            interval = "-"
            if x["interval"]:
                interval = " to ".join(format_number(bound) for bound in x["interval"])
            mean = format_number(x["mean"]) + deviation
            table.add_row(Text(env), Text(name), str(x["seeds"]), mean, interval, format_number(x["best"]))
        table.add_section()
    return table
