"""Checks the documentation: its Python runs, its tables match the code, its links and names exist.

`test_doc_commands.py` checks its commands.
"""

import re
import subprocess
import sys

import jobs
import pytest
from doc_pages import BLOCKS, PAGES, added_lines, anchors, blocks, defined_in, names_of_code, relative_links, rows

from baselines_ppo.cli.parser import build_parser
from baselines_ppo.config.registry import SETTINGS

SETTINGS_PAGE = jobs.ROOT / "docs" / "settings.md"

named_by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


# ---- links and names


@named_by_page
def test_link_targets_exist(page):
    for link in relative_links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_the_index_lists_every_page():
    listed = {link for link in relative_links(jobs.ROOT / "docs" / "README.md")}
    assert {page.name for page in PAGES if page.parent == jobs.ROOT / "docs"} - {"README.md"} <= listed


@named_by_page
def test_names_of_code_exist(page):
    for path, name in names_of_code(page):
        assert (jobs.ROOT / path).is_file(), f"{page.name}: {path}"
        assert name in defined_in(jobs.ROOT / path), f"{page.name}: {path}: {name}"


# ---- the table of settings


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


def default_in_code(name):
    """Return the distinct defaults of a setting, in the order of the algorithms."""
    return list(SETTINGS[name].distinct_defaults.values())


def presets_in_code(name):
    """Return {preset: its value} for the presets whose value differs from the default."""
    return {preset: comparable(one) for preset, one in SETTINGS[name].presets().items()}


@pytest.fixture(scope="module")
def settings_rows():
    return {row["setting"].strip("`"): row for row in rows(SETTINGS_PAGE, "setting")}


def test_the_tables_of_settings_are_generated_from_the_code():
    done = subprocess.run(
        [sys.executable, jobs.ROOT / ".ci" / "settings_page.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_setting_has_a_row_with_meaning_unit_and_advice(settings_rows):
    assert settings_rows.keys() == SETTINGS.keys()
    assert all(row[column] for row in settings_rows.values() for column in ("meaning", "unit", "what to do with it"))


def test_every_flag_that_is_not_a_setting_has_a_row():
    flags = {
        name
        for action in build_parser().actions.values()
        if action.dest not in SETTINGS
        for name in action.option_strings
        if name.startswith("--")
    }
    assert {row["flag"].strip("`") for row in rows(SETTINGS_PAGE, "flag")} == flags


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_defaults_and_presets_of_the_table_are_those_of_the_code(settings_rows, name):
    row = settings_rows[name]
    assert [value(text) for text in re.findall(r"`([^`]+)`", row["default"])] == [
        comparable(one) for one in default_in_code(name)
    ]
    found = dict(
        part.strip().replace("`", "").split(" ", 1) for part in row["presets with another"].split(";") if part.strip()
    )
    assert {preset: value(text) for preset, text in found.items()} == presets_in_code(name)


# ---- blocks of Python


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(block.language == "python" for block in blocks(page))],
    ids=lambda page: page.stem,
)
def test_python_blocks_run_unchanged(page, page_folder, monkeypatch):
    page_folder(page)
    monkeypatch.setattr("common.policies.base.Policy.xla", False)  # compilation would take three quarters of the time
    namespace = {"__name__": "__main__"}
    for block in blocks(page):
        if block.language == "python":
            code = compile(block.text, f"{page.name}, a block of Python", "exec")
            if block.not_run is None and block.file is None:
                exec(code, namespace)


def test_lines_of_the_porting_diff_are_in_the_program_that_is_run():
    diff = next(block for block in BLOCKS if block.page.name == "README.md" and "-from baselines." in block.text)
    program = "".join(block.text for block in blocks(diff.page) if block.language == "python")
    assert added_lines(diff) and set(added_lines(diff)) <= set(program.splitlines())
