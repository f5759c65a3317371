"""The prose of the pages: no sentence above 35 words, no sentence with more than two numbers. Tables and code are exempt."""

import re
import sys

import jobs
import pytest
from doc_pages import DOCS, PAGES, page_name

sys.path.insert(0, str(jobs.ROOT / ".ci"))
import prose  # noqa: E402
import settings_page  # noqa: E402

from baselines_ppo.config.registry import SETTINGS  # noqa: E402

MAX_WORDS, MAX_NUMBERS = 35, 2
# pages that .ci/reference_pages.py writes, and pages of directives
GENERATED = ("reference/settings.md", "reference/presets.md", "reference/api/")
USER_PAGES = [
    page for page in PAGES if page.is_relative_to(DOCS) and not page.relative_to(DOCS).as_posix().startswith(GENERATED)
]
SENTENCE = re.compile(r"\S.*?(?:[.!?:][\"')*_\]]*(?= [\"'(*_\[]*[A-Z0-9])|\Z)")
# not a quantity: a year, the number of an equation or a version, an exit status after its name
REFERENCES = re.compile(
    r"\b(?:19|20)\d\d\b|\b(?:equations?|eq\.|sections?|tables?|Figure|Algorithm|appendix|Python|version) (?:[A-Z]\.)?\d[\d.]*",
    re.I,
)
NUMBER = re.compile(r"(?<![\w.,/-])[-+±]?\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?(?: ?%|[kM]\b)?(?![\w/-])")


def sentences(text):
    """Return [(line, sentence)] of the prose of a page, without code spans and tables."""
    text = re.sub(r"`[^`\n]+`", "X", re.sub(r"(?m)^\|.*$", "", prose.blanked(r"(?ms)^ *(```|~~~).*?^ *\1", text)))
    return [
        (passage.line, sentence[0])
        for passage in prose.markdown_passages(text)
        for sentence in SENTENCE.finditer(" ".join(passage.text.split()))
    ]


def glued_headings(text):
    """Return the numbers of the lines that have a heading's mark after other text, outside of code."""
    text = re.sub(r"`[^`\n]+`", "X", prose.blanked(r"(?ms)^ *(```|~~~).*?^ *\1", text))
    return [number for number, line in enumerate(text.split("\n"), 1) if re.search(r"\S ##+ ", line)]


def numbers(sentence):
    return NUMBER.findall(REFERENCES.sub("X", sentence))


@pytest.mark.parametrize("page", USER_PAGES, ids=page_name)
def test_sentences_are_short_and_have_at_most_two_numbers(page):
    check(sentences(page.read_text(encoding="utf-8")))


def test_advice_on_settings_is_short_and_has_at_most_two_numbers_in_a_sentence():
    """Advice is the part of the generated page of settings that is written by hand."""
    advice = [one.advice for one in settings_page.hand_written(settings_page.PAGE.read_text(encoding="utf-8")).values()]
    assert len(advice) == len(SETTINGS)
    check(sentences("\n\n".join(text[0].upper() + text[1:] for text in advice)))


def check(found):
    assert found
    long = [one for one in found if sum(bool(re.search(r"\w", word)) for word in one[1].split()) > MAX_WORDS]
    crowded = [one for one in found if len(numbers(one[1])) > MAX_NUMBERS]
    assert not long and not crowded


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_a_heading_begins_its_line(page):
    assert not glued_headings(page.read_text(encoding="utf-8"))


def test_a_heading_within_a_line_is_found_outside_of_code():
    assert glued_headings("a\n\nIt ends. ## Next part\n") == [3]
    assert not glued_headings("## One\n\n### Two\n\n`a ## b`\n\n```python\nx = 1  ## b\n```\n")


def test_numbers_are_counted():
    assert numbers("It scored 3,279, -4.0 and 12 % of 1e6 in 2017.") == ["3,279", "-4.0", "12 %", "1e6"]
    assert numbers("A2C and PPO1 with Python 3.11, equation 7 and `x`, on 84 x 84 pixels.") == ["84", "84"]
