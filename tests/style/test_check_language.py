"""The language check finds what it is for, with its place, and leaves plain English alone."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".ci"))
import check_language  # noqa: E402


def found(tmp_path, name, text):
    """[(line, first word of the pattern)] of what the check finds in a file."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return [
        (int(place.split(":")[1]), pattern.split()[0]) for place, pattern, _ in check_language.check(path, tmp_path)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "The command to go on with.",
        "lam=2 cannot be; give a number from 0 to 1",
        "That is no whole file.",
        "It needs a process of its own.",
        "There is one row an iteration.",
        "The message says why.",
        "The rate was measured beside other work.",
        "The two are not told apart.",
        "It earned 3,831.",
        "The policy stands still.",
        "A rank shall wait.",
        "The scores have a deviation of 3.",
        "A block in which Ctrl-C is ignored.",
        "What a run leaves.",
        "Mean return is 2,151 (bar 2,000).",
        "A run under way is skipped.",
    ],
)
def test_private_wording_is_found(tmp_path, text):
    assert found(tmp_path, "page.md", text + "\n")


@pytest.mark.parametrize(
    "text",
    [
        "There is no checkpoint in this folder, and it is no longer locked.",
        "The standard deviation over seeds is 3.",
        "Apart from Atari, the checkpoints are two seconds apart.",
        "The code block `go on` and a link [page](for-ever-and-anew.md) are not prose.",
        "What is a rank?",
        "The acronym stands for generalised advantage estimation.",
        "One call at a time.",
    ],
)
def test_plain_wording_passes(tmp_path, text):
    assert found(tmp_path, "page.md", text + "\n") == []


def test_findings_have_the_line_of_their_first_word(tmp_path):
    module = '''"""One line.

Runs go
on after it.
"""
value = 1  # it shall be one
# A whole comment: the run goes
# on here.
message = f"a run that {value} cannot be; give another"
code = "def f():\\n    shall = 1\\n"
key = "shall"
'''
    assert found(tmp_path, "module.py", module) == [(3, "go"), (6, "archaic"), (7, "go"), (9, "cannot")]


def test_code_blocks_and_formulas_are_no_prose(tmp_path):
    page = "# Page\n\n```bash\nrun.py go on\n```\n\n    shall = 1\n\n$$ shall $$\n\nIt shall.\n"
    assert found(tmp_path, "docs/page.md", page) == [(11, "archaic")]


def test_cells_of_a_notebook_are_prose_and_code(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "\n", "It shall."]},
        {"cell_type": "code", "outputs": [], "source": ["shall = 1\n", 'print("it shall be one")']},
    ]
    assert found(tmp_path, "notebook.ipynb", json.dumps({"cells": cells}, indent=1)) == [
        (8, "archaic"),
        (16, "archaic"),
    ]


def test_sentences_are_counted_one_by_one_and_rows_of_tables_by_cell(tmp_path):
    limit = check_language.MAX_SENTENCE_WORDS
    sentence = " ".join(["word"] * limit)
    assert (
        found(tmp_path, "page.md", f"{sentence.capitalize()}. {sentence.capitalize()}.\n\n- {sentence}\n- {sentence}\n")
        == []
    )
    assert found(tmp_path, "page.md", f"| {sentence} | {sentence} |\n| --- | --- |\n") == []
    assert found(tmp_path, "page.md", f"Short. {sentence.capitalize()} more.\n") == [(1, "sentence")]


def test_status_is_1_if_something_is_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(check_language, "ROOT", tmp_path)
    monkeypatch.setattr(check_language, "check", lambda path: [(f"{path.name}:1", "archaic", "shall")])
    (tmp_path / "page.md").write_text("It shall.\n")
    monkeypatch.setattr(check_language, "files", lambda paths: paths)
    assert check_language.main(["--package", str(tmp_path / "page.md")]) == 1
    assert capsys.readouterr().out == "page.md:1: archaic: shall\n"


def test_every_exemption_has_a_reason_and_a_file():
    for one in check_language.EXEMPTIONS:
        assert one.reason and list(check_language.ROOT.glob(one.file)), one
