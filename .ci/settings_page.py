#!/usr/bin/env python3
"""Write the tables of docs/settings.md from the settings themselves.

    python .ci/settings_page.py            rewrite the page
    python .ci/settings_page.py --check    change nothing; exit status 1 if the page is out of date

The columns "unit" and "what to do with it" are written by hand and kept; a new setting starts with its type and a dash.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from baselines_ppo.cli.command_lines import format_value  # noqa: E402
from baselines_ppo.config.registry import SETTINGS_BY_GROUP, Setting  # noqa: E402
from baselines_ppo.config.setting_fields import GROUPS  # noqa: E402

PAGE = ROOT / "docs" / "settings.md"
COLUMNS = ("setting", "meaning", "unit", "default", "presets with another", "what to do with it")
UNITS = {int: "integer", float: "number", bool: "true, false", str: "text", dict: "JSON object"}
TABLE = re.compile(r"(?:^\|.*\n)+", re.M)


def table_rows(text: str) -> list[list[str]]:
    """Return the cells of each row of the tables in a text, without headings and rulers."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"
    ]
    return [row for row in rows if row[0] != COLUMNS[0] and not set(row[0]) <= set("- ")]


def row_of(setting: Setting, unit: str, advice: str) -> str:
    """Return the row of a setting."""
    defaults = setting.distinct_defaults
    if len(defaults) > 1:
        default = ", ".join(f"`{format_value(value)}` ({owner})" for owner, value in defaults.items())
    else:
        (value,) = defaults.values()
        unset = "" if value is not None or setting.info.unset == "none" else f": {setting.info.unset}"
        default = f"`{format_value(value)}`{unset}"
    presets = "; ".join(f"`{preset}` {format_value(value)}" for preset, value in setting.presets().items())
    cells = (f"`{setting.name}`", setting.info.doc, unit, default, presets, advice)
    return "| " + " | ".join(cells) + " |\n"


def render(page: str) -> str:
    """Return a page with the table of each group of settings rewritten.

    Raises:
        ValueError: if the page lacks the heading of a group, or a table under it.
    """
    written = {row[0].strip("`"): (row[2], row[5]) for row in table_rows(page) if len(row) == len(COLUMNS)}
    for group, title in GROUPS.items():
        start = page.index(f"\n## {title}\n")
        table = TABLE.search(page, start)
        if table is None:
            raise ValueError(f"{PAGE.name} has no table under the heading {title!r}")
        rows = ["| " + " | ".join(COLUMNS) + " |\n", "| " + " | ".join("---" for _ in COLUMNS) + " |\n"]
        for setting in SETTINGS_BY_GROUP[group]:
            unit = ", ".join(setting.info.choices or ()) or UNITS[setting.type]
            rows.append(row_of(setting, *written.get(setting.name, (unit, "-"))))
        page = page[: table.start()] + "".join(rows) + page[table.end() :]
    return page


def main(argv: list[str]) -> int:
    """Rewrite or check the page; return the exit status."""
    page = PAGE.read_text(encoding="utf-8")
    rendered = render(page)
    if "--check" in argv:
        if rendered != page:
            print(f"{PAGE.relative_to(ROOT)} is out of date; run `python .ci/settings_page.py`", file=sys.stderr)
        return int(rendered != page)
    PAGE.write_text(rendered, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
