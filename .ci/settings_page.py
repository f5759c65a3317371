"""The page of settings, docs/reference/settings.md: one heading and entry for each setting, from the settings themselves.

The unit and the advice ("Advice") of an entry are written by hand, in the page, and kept. A new setting starts with
its type and a dash. `python .ci/reference_pages.py` writes the page.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from baselines_ppo.cli.command_lines import format_value  # noqa: E402
from baselines_ppo.config.registry import SETTINGS_BY_GROUP, Setting  # noqa: E402
from baselines_ppo.config.setting_fields import GROUPS  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "settings.md"
COLUMNS = ("flag", "unit", "default", "presets")
HEADINGS = GROUPS | {
    "objective": "Surrogate objective",
    "optimizer": "Optimizer and learning rate",
}  # unlike any setting
ADVICE = "**Advice:** "
UNITS = {int: "integer", float: "number", bool: "true, false", str: "text", dict: "JSON object", list: "integers"}
OWNERS = ("ppo", "trpo", "vpg", "mlp", "cnn", "mixed", "adaptive_kl", "fixed_kl")
# "trpo, vpg: ", or a name with an underscore
BEGINS_WITH_NAME = re.compile(rf"(?:{'|'.join(OWNERS)})(?:, (?:{'|'.join(OWNERS)}))*: |[a-z]+_\w+ ")
ENTRY = re.compile(r"^### `(\w+)`\n(.*?)(?=^#|\Z)", re.M | re.S)


class HandWritten(NamedTuple):
    """The parts of an entry that are written by hand."""

    unit: str
    advice: str


def hand_written(page: str) -> dict[str, HandWritten]:
    """Return the hand-written parts of the entries of a page, by the name of the setting."""
    found = {}
    for name, entry in ENTRY.findall(page):
        rows = [line for line in entry.splitlines() if line.startswith("|")]
        cells = [cell.strip() for cell in rows[2].strip("|").split("|")] if len(rows) > 2 else []
        advice = entry.partition(ADVICE)[2].strip()
        if len(cells) == len(COLUMNS) and advice:
            found[name] = HandWritten(cells[1], advice)
    return found


def default_text(setting: Setting) -> str:
    """Return the default of a setting, or those of the algorithms."""
    defaults = setting.distinct_defaults
    if len(defaults) > 1:
        return ", ".join(f"`{format_value(value)}` ({owner})" for owner, value in defaults.items())
    (value,) = defaults.values()
    unset = "" if value is not None or setting.info.unset == "none" else f": {setting.info.unset}"
    return f"`{format_value(value)}`{unset}"


def meaning_text(setting: Setting) -> str:
    """Return the documentation of a setting as a sentence."""
    doc = setting.info.doc
    return f"{doc if BEGINS_WITH_NAME.match(doc) else doc[0].upper() + doc[1:]}."


def entry_of(setting: Setting, written: HandWritten) -> str:
    """Return the entry of a setting."""
    presets = "; ".join(f"`{preset}` {format_value(value)}" for preset, value in setting.presets().items())
    cells = (f"`{setting.flag}`", written.unit, default_text(setting), presets)
    rows = ("| " + " | ".join(row) + " |\n" for row in (COLUMNS, ("---",) * len(COLUMNS), cells))
    return f"### `{setting.name}`\n\n{meaning_text(setting)}\n\n{''.join(rows)}\n{ADVICE}{written.advice}\n\n"


def render(page: str) -> str:
    """Return a page with the entries below the heading of each group of settings rewritten.

    Raises:
        ValueError: if the page lacks the heading of a group.
    """
    written = hand_written(page)
    for group, title in HEADINGS.items():
        section = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page, re.M | re.S)
        if section is None:
            raise ValueError(f"{PAGE.name} has no heading {title!r}")
        introduction = re.split(r"^### ", section[1], maxsplit=1, flags=re.M)[0].strip()
        entries = []
        for setting in SETTINGS_BY_GROUP[group]:
            unit = ", ".join(setting.info.choices or ()) or UNITS[setting.type]
            entries.append(entry_of(setting, written.get(setting.name, HandWritten(unit, "-"))))
        text = "\n" + (f"{introduction}\n\n" if introduction else "") + "".join(entries)
        page = page[: section.start(1)] + text + page[section.end(1) :]
    return page.rstrip("\n") + "\n"
