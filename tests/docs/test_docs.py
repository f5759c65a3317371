"""Checks the documentation: its Python runs, its tables match the code, its links and names exist.

`test_doc_commands.py` checks its commands.
"""

import re

import jobs
import pytest
from doc_pages import (
    DOCS,
    PAGES,
    added_lines,
    anchors,
    blocks,
    defined_in,
    names_of_code,
    page_name,
    relative_links,
)

named_by_page = pytest.mark.parametrize("page", PAGES, ids=page_name)


# ---- links and names


@named_by_page
def test_link_targets_exist(page):
    for link in relative_links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page_name(page)}: {link}"
        assert not anchor or anchor in anchors(target), f"{page_name(page)}: {link}"


def test_the_index_lists_every_page():
    listed = {link.partition("#")[0] for link in relative_links(DOCS / "README.md")}
    pages = {page.relative_to(DOCS).as_posix() for page in PAGES if page.is_relative_to(DOCS)}
    assert {page for page in pages if not page.startswith("reference/api/")} - {"README.md"} <= listed


@named_by_page
def test_names_of_code_exist(page):
    for path, name in names_of_code(page):
        assert (jobs.ROOT / path).is_file(), f"{page_name(page)}: {path}"
        assert name in defined_in(jobs.ROOT / path), f"{page_name(page)}: {path}: {name}"


# ---- blocks of Python


MAX_STEPS = 2048


def shortened(code):
    """Return a block of Python whose trainings have at most `MAX_STEPS` steps."""
    return re.sub(r"(?<=max_timesteps=)[\d_]+", lambda match: str(min(int(match[0]), MAX_STEPS)), code)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(block.language == "python" for block in blocks(page))],
    ids=page_name,
)
def test_python_blocks_run(page, page_folder, monkeypatch):
    """Unchanged, except that a training has at most `MAX_STEPS` steps."""
    page_folder(page)
    monkeypatch.setattr("common.policies.base.Policy.xla", False)  # compilation would take three quarters of the time
    namespace = {"__name__": "__main__"}
    for block in blocks(page):
        if block.language == "python":
            code = compile(shortened(block.text), f"{page_name(page)}, a block of Python", "exec")
            if block.not_run is None and block.file is None:
                exec(code, namespace)


def test_lines_of_the_porting_diff_are_in_the_program_that_is_run():
    page = DOCS / "migration" / "baselines-ppo1.md"
    diff = next(block for block in blocks(page) if "-from baselines." in block.text)
    program = next(block.text for block in blocks(page) if block.language == "python")
    assert added_lines(diff) and set(added_lines(diff)) <= set(program.splitlines())
