"""Replaces the generated parts of README.md, benchmarks/README.md and pages in benchmarks/results.

A part begins after an HTML comment, and ends at the next heading or at the comment "end of generated".
"""

import re
from pathlib import Path

from benchmarks import paths
from benchmarks.readme import result_pages, sections, speed
from benchmarks.readme.summary import Summary
from common.errors import UserError

START = "<!-- generated: {name} -->"


def parts(summary: Summary) -> dict[str, dict[str, str]]:
    """{page: {name: text}} of all generated parts."""
    lines = speed.read()
    return {
        "README.md": {
            "results": sections.results(summary),
            "speed": f"{speed.speed_table(lines)}\n\n{sections.paragraph(speed.notes(lines))}",
        },
        "benchmarks/README.md": {"current results": speed.current_table(lines)},
        "benchmarks/results/returns.md": {"nine tasks": result_pages.nine_tasks(summary)},
        "benchmarks/results/surrogates.md": {"objectives": result_pages.objectives(summary)},
    }


def render(text: str, texts: dict[str, str], page: str) -> str:
    """A page with its generated parts replaced.

    Raises:
        UserError: if a part has no markers, or markers have no part.
    """
    known = re.findall(r"<!-- generated: (.*?) -->", text)
    if sorted(known) != sorted(texts):
        raise UserError(f"{page} has the generated parts {sorted(known)}, but must have {sorted(texts)}, once each")
    for name, part in texts.items():
        text = replaced(text, name, part)
    return text.rstrip("\n") + "\n"


def replaced(text: str, name: str, part: str) -> str:
    """A text with one generated part replaced."""
    start = START.format(name=name)
    pattern = rf"{re.escape(start)}\n.*?(?=^#|^<!-- end of generated|\Z)"
    return re.sub(pattern, lambda _: f"{start}\n{part}\n\n", text, flags=re.S | re.M)


def rendered(summary: Summary) -> dict[Path, str]:
    """{path: text} of all pages with generated parts."""
    root = paths.ROOT
    return {
        root / page: render((root / page).read_text(encoding="utf-8"), texts, page)
        for page, texts in parts(summary).items()
    }
