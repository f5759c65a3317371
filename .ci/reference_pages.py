#!/usr/bin/env python3
"""Write what the pages take from the code and from committed results: settings, presets, the command line, tables of results.

    python .ci/reference_pages.py            rewrite the pages
    python .ci/reference_pages.py --check    change nothing; exit status 1 if a page is out of date

A generated part of a page is between `<!-- generated: NAME -->` and `<!-- end -->`; the text outside of such parts is kept.
"""

import argparse
import re
import sys
from pathlib import Path

import settings_page
from result_tables import TABLES, returns
from settings_page import ROOT

from baselines_ppo.cli.command_lines import format_value
from baselines_ppo.cli.options import Parser
from baselines_ppo.cli.parser import build_parser as run_parser
from baselines_ppo.config.presets import PRESETS
from baselines_ppo.config.registry import SETTINGS, SETTINGS_BY_GROUP, Setting
from baselines_ppo.config.setting_fields import GROUPS
from baselines_ppo.doctor.command import make_parser as doctor_parser
from baselines_ppo.export.command import build_parser as export_parser
from baselines_ppo.plot.command import make_parser as plot_parser
from baselines_ppo.report.command import build_parser as report_parser
from baselines_ppo.sweep.cli import sweep_parser
from baselines_ppo.tune.cli import tune_parser
from baselines_ppo.tune.search_space import dimension_of

GENERATED = re.compile(r"(<!-- generated: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.S)
COMMANDS = {
    "plot": plot_parser,
    "sweep": sweep_parser,
    "tune": tune_parser,
    "report": report_parser,
    "export": export_parser,
    "doctor": doctor_parser,
}
TAKES_SETTINGS = ("sweep", "tune")  # commands whose parsers have the settings of a run, too
OWN_OPTIONS = ("seed",)  # options of `tune` with the name of a setting


def table(rows: list[tuple[str, ...]]) -> str:
    """Return a table in Markdown; the first row has the headings."""
    lines = [rows[0], ("---",) * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# ---- presets


def preset_value(setting: Setting, name: str) -> str:
    """Return the value that a preset gives to a setting; empty if that is the default."""
    values = setting.presets()
    return format_value(values[name]) if name in values else ""


def preset_tables() -> str:
    """Return one table per group of settings: the settings that a preset changes, with their values in each preset."""
    parts = []
    for group, title in GROUPS.items():
        settings = [setting for setting in SETTINGS_BY_GROUP[group] if setting.presets()]
        if not settings:
            continue
        rows = [("setting", "default", *(f"`{name}`" for name in PRESETS))]
        for setting in settings:
            link = f"[`{setting.name}`](settings.md#{setting.name})"
            values = (preset_value(setting, name) for name in PRESETS)
            rows.append((link, settings_page.default_text(setting), *values))
        parts.append(f"### {title}\n\n{table(rows)}")
    return "\n\n".join(parts)


def preset_purposes() -> str:
    """Return the table of the presets with their purpose."""
    return table([("preset", "purpose"), *((f"`{name}`", preset.doc) for name, preset in PRESETS.items())])


# ---- command line


def usage(parser: Parser) -> str:
    """Return the usage of a command as a block of text, in lines of at most 100 columns."""
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=100)
    return f"```text\n{parser.format_usage().strip()}\n```"


def option_name(action: argparse.Action) -> str:
    """Return how an option or argument is written, with its choices or the placeholder of its value."""
    name = ", ".join(f"`{flag}`" for flag in action.option_strings) or f"`{action.metavar or action.dest}`"
    choices = ", ".join(f"`{one}`" for one in action.choices or ())
    return f"{name}: {choices}" if choices else name


def options_of_command(name: str) -> str:
    """Return the usage, the purpose and the options of a command; without the settings of a run."""
    parser = COMMANDS[name]()
    of_run = [one for one in SETTINGS if name != "tune" or one not in OWN_OPTIONS] if name in TAKES_SETTINGS else []
    own = [action for action in parser.actions.values() if action.dest not in of_run]
    rows = [("option", "meaning"), *((option_name(one), (one.help or "").replace("%%", "%")) for one in own)]
    return f"{usage(parser)}\n\n{parser.description}\n\n{table(rows)}"


def settings_of_run() -> str:
    """Return the usage of run.py, and its settings by group, with links to their entries."""
    rows = [("group", "flags")]
    for group, title in GROUPS.items():
        flags = ", ".join(f"[`{one.flag}`](settings.md#{one.name})" for one in SETTINGS_BY_GROUP[group])
        rows.append((title, flags))
    return f"{usage(run_parser())}\n\n{table(rows)}"


# ---- search of settings


def search_values() -> str:
    """Return the table of the values that a search tries, and the algorithms whose search includes them by default."""
    rows = [("setting", "values", "searched by default for")]
    for setting in SETTINGS.values():
        if search := setting.info.search:
            one = dimension_of(setting)
            values = ", ".join(map(format_value, one.choices)) if one.choices else f"{one.low:g} to {one.high:g}"
            scale = " (logarithmic)" if one.log else ""
            link = f"[`{setting.name}`](../reference/settings.md#{setting.name})"
            rows.append((link, values + scale, ", ".join(search.default_for)))
    return table(rows)


PARTS = {
    "searches": search_values,
    "returns": returns,
    "presets": preset_purposes,
    "values": preset_tables,
    "run": settings_of_run,
    **{name: lambda name=name: options_of_command(name) for name in COMMANDS},
    **{name: lambda name=name: table(TABLES[name]()) for name in TABLES},
}


def render_parts(page: str) -> str:
    """Return a page with its generated parts rewritten."""
    return GENERATED.sub(lambda match: f"{match[1]}\n{PARTS[match[2]]()}\n\n{match[4]}", page)


def render(path: Path) -> str:
    """Return the text that a page must have."""
    text = path.read_text(encoding="utf-8")
    return render_parts(settings_page.render(text) if path == settings_page.PAGE else text)


def main(argv: list[str]) -> int:
    """Rewrite or check the pages; return the exit status."""
    status = 0
    for path in sorted((ROOT / "docs").rglob("*.md")):
        rendered = render(path)
        if rendered == path.read_text(encoding="utf-8"):
            continue
        if "--check" in argv:
            print(f"{path.relative_to(ROOT)} is out of date; run `python .ci/reference_pages.py`", file=sys.stderr)
            status = 1
        else:
            path.write_text(rendered, encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
