"""The reference pages match the code: settings, presets, flags, names of the Python API, messages, tables of results."""

import ast
import importlib
import json
import re
import subprocess
import sys

import jobs
import pytest
from doc_pages import BLOCKS, DOCS, rows

import baselines_ppo
from baselines_ppo.cli.parser import build_parser
from baselines_ppo.config.presets import PRESETS
from baselines_ppo.config.registry import SETTINGS
from baselines_ppo.export.command import build_parser as export_parser
from baselines_ppo.plot.command import make_parser as plot_parser
from baselines_ppo.report.command import build_parser as report_parser

REFERENCE = DOCS / "reference"
SETTINGS_PAGE = REFERENCE / "settings.md"
DIRECTIVE = re.compile(r"^::: ([\w.]+)$", re.M)
ENTRY = re.compile(r"^### `(\w+)`\n\n(?P<meaning>.+)\n\n(?P<table>(?:\|.*\n)+)\n\*\*Advice:\*\* (?P<advice>.+)\n", re.M)


def test_the_generated_pages_and_parts_are_current():
    done = subprocess.run(
        [sys.executable, jobs.ROOT / ".ci" / "reference_pages.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# ---- settings and presets


def value(text):
    """Return the value that a cell of a table shows."""
    words = {"none": None, "true": True, "false": False}
    try:
        return words[text] if text in words else float(text)
    except ValueError:
        return text


def comparable(one):
    """Convert a value to the form that `value` returns: numbers as floats."""
    return float(one) if isinstance(one, int) and not isinstance(one, bool) else one


@pytest.fixture(scope="module")
def entries():
    """{setting: its meaning, its advice and the cells of its table by heading}."""
    found = {}
    for match in ENTRY.finditer(SETTINGS_PAGE.read_text(encoding="utf-8")):
        headings, _, cells = (
            [cell.strip() for cell in line.strip("|").split("|")] for line in match["table"].splitlines()
        )
        found[match[1]] = dict(zip(headings, cells)) | {"meaning": match["meaning"], "advice": match["advice"]}
    return found


def test_every_setting_has_an_entry_with_meaning_unit_and_advice(entries):
    assert entries.keys() == SETTINGS.keys()
    for name, entry in entries.items():
        assert entry["flag"] == f"`{SETTINGS[name].flag}`"
        assert SETTINGS[name].info.doc.lower() in entry["meaning"].lower()
        assert entry["unit"] and entry["advice"] != "-", name


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_defaults_and_presets_of_an_entry_are_those_of_the_code(entries, name):
    entry = entries[name]
    assert [value(text) for text in re.findall(r"`([^`]+)`", entry["default"])] == [
        comparable(one) for one in SETTINGS[name].distinct_defaults.values()
    ]
    found = dict(part.strip().replace("`", "").split(" ", 1) for part in entry["presets"].split(";") if part.strip())
    assert {preset: value(text) for preset, text in found.items()} == {
        preset: comparable(one) for preset, one in SETTINGS[name].presets().items()
    }


def test_the_table_of_presets_has_every_value_that_a_preset_changes():
    table = rows(REFERENCE / "presets.md", "setting")
    shown = {
        (re.search(r"`(\w+)`", row["setting"])[1], preset): value(row[f"`{preset}`"])
        for row in table
        for preset in PRESETS
        if row[f"`{preset}`"]
    }
    changed = {
        (setting.name, preset): comparable(one)
        for setting in SETTINGS.values()
        for preset, one in setting.presets().items()
    }
    assert shown == changed


# ---- command line


def test_every_flag_that_is_not_a_setting_has_a_row():
    flags = {
        name
        for action in build_parser().actions.values()
        if action.dest not in SETTINGS
        for name in action.option_strings
        if name.startswith("--")
    }
    assert {row["flag"].strip("`") for row in rows(REFERENCE / "command-line.md", "flag")} == flags


@pytest.mark.parametrize(
    "name, parser",
    [("Plot", plot_parser()), ("Report", report_parser()), ("Export", export_parser())],
    ids=["plot", "report", "export"],
)
def test_every_option_of_a_command_has_a_row(name, parser):
    page = (REFERENCE / "command-line.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {name}\n(.*?)(?=^## )", page, re.M | re.S)[1]
    listed = re.findall(r"^\| (`.+?) \| .+ \|$", section, re.M)
    options = [", ".join(f"`{flag}`" for flag in one.option_strings) or f"`{one.metavar}`" for one in parser._actions]
    assert len(options) > 2 and [cell.split(": ")[0] for cell in listed] == options


def test_every_extra_of_the_package_is_on_the_page_of_installation():
    source = ast.parse((jobs.ROOT / "setup.py").read_text(encoding="utf-8"))
    extras = next(node.value for node in ast.walk(source) if getattr(node, "arg", None) == "extras_require")
    listed = {row["extra"].strip("`") for row in rows(DOCS / "getting-started" / "installation.md", "extra")}
    assert {key.value for key in extras.keys} <= listed


# ---- Python API


@pytest.fixture(scope="module")
def directives():
    """The names that the pages of the Python API document."""
    found = [
        name
        for page in sorted((REFERENCE / "api").glob("*.md"))
        for name in DIRECTIVE.findall(page.read_text(encoding="utf-8"))
    ]
    assert len(found) == len(set(found))
    return set(found)


def test_every_public_name_has_an_entry(directives):
    documented = {
        name.removeprefix("baselines_ppo.") for name in directives if re.fullmatch(r"baselines_ppo\.\w+", name)
    }
    assert documented == set(baselines_ppo.__all__)


def test_every_entry_exists(directives):
    for name in directives:
        parts, found = name.split("."), None
        for end in range(len(parts), 0, -1):
            try:
                found = importlib.import_module(".".join(parts[:end]))
            except ModuleNotFoundError:
                continue
            for part in parts[end:]:
                found = getattr(found, part)
            break
        assert found is not None and found.__doc__, name


def python_sources():
    """The Python code of the pages and of the examples, with the notebooks."""
    for block in BLOCKS:
        if block.language == "python" and not block.not_run:
            yield block.text
    for path in (jobs.ROOT / "examples").rglob("*.py"):
        yield path.read_text(encoding="utf-8")
    for path in (jobs.ROOT / "examples" / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                yield "".join(cell["source"])


def test_what_pages_and_examples_import_has_an_entry(directives):
    imported = set()
    for source in python_sources():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in ("common", "baselines_ppo"):
                imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert {"baselines_ppo.learn", "baselines_ppo.plot.significance.welch"} <= imported
    for name in imported:
        module, _, last = name.rpartition(".")
        public = f"baselines_ppo.{last}" in directives  # such as baselines_ppo.export.export_litert
        same = public and getattr(baselines_ppo, last) is getattr(importlib.import_module(module), last)
        assert name in directives or module in directives or same, name


# ---- messages


@pytest.fixture(scope="module")
def source_texts():
    """The string literals of the packages; a value inside an f-string is a space."""
    found = []
    for path in [*(jobs.ROOT / "baselines_ppo").rglob("*.py"), *(jobs.ROOT / "common").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(part.value if isinstance(part, ast.Constant) else " " for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_messages_of_troubleshooting_are_in_the_code(source_texts):
    messages = [
        span
        for row in rows(DOCS / "guides" / "troubleshooting.md", "message")
        for span in re.findall(r"`+ ?(.+?) ?`+(?= \||$)", row["message"])
    ]
    assert len(messages) >= 20
    for message in messages:
        for part in re.split(r"\.\.\.+", message):
            assert part.strip(" ;:(),") in source_texts, f"{message}: {part}"
