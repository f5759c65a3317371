"""Prose of source files: passages of comments, docstrings, string literals, pages, notebooks, templates, configuration files."""

import ast
import io
import json
import re
import tokenize
from dataclasses import dataclass


@dataclass(frozen=True)
class Passage:
    """A stretch of prose; line breaks in `text` are those of the file, so that a finding can be given its line."""

    line: int
    text: str
    last_line: int | None = None


def python_passages(source):
    tree = ast.parse(source)
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            text = node.value
        else:
            continue
        if len(text.split()) > 1 and not is_source_code(text):
            yield from paragraphs(without_code_blocks(text), node.lineno, node.end_lineno)
    if "#" in source:
        yield from comments(source)


def is_source_code(text):
    if not re.search(r"[=(\n;]|\bimport\b", text):
        return False
    try:
        ast.parse(text.strip())
    except (SyntaxError, ValueError):
        return False
    return True


def comments(source):
    """Comments; those that fill their lines are one passage if nothing is between them."""
    lines, block, start = source.splitlines(), [], 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        row, column = token.start
        text = re.sub(r"^#[!:]*\s*(?:noqa|type:|ruff:|fmt:|pylint:|shellcheck|!/).*|^#+ ?", "", token.string)
        whole_line = not lines[row - 1][:column].strip()
        if block and not (whole_line and row == start + len(block)):
            yield from paragraphs("\n".join(block), start)
            block = []
        if whole_line:
            start = start if block else row
            block.append(text)
        else:
            yield from paragraphs(text, row)
    if block:
        yield from paragraphs("\n".join(block), start)


# A line that begins a new passage: an item of a list, or an entry such as "rew: [T, N]" of a docstring's Args.
ITEM = re.compile(r"\s*(?:[-*+] |\d+[.)] |[*`]*\w[\w.]*[`*]*(?:, [*`]*\w+[`*]*)*(?: \([^)]*\))?: )")


def paragraphs(text, line, last_line=None):
    """Split at blank lines, at list items and at entries of Args."""
    start, block = line, []
    for offset, row in enumerate(text.split("\n")):
        if block and (not row.strip() or ITEM.match(row)):
            yield Passage(start, "\n".join(block), last_line)
            block = []
        if row.strip():
            start = start if block else line + offset
            block.append(row)
    if block:
        yield Passage(start, "\n".join(block), last_line)


def without_code_blocks(text):
    """Blank out doctest lines, and rows behind a blank one that are indented by four columns more than the text."""
    rows, code = text.split("\n"), False
    base = min((indentation(row) for row in rows[1:] if row.strip()), default=0)
    for number, row in enumerate(rows[1:], 1):
        indented = indentation(row) >= base + 4
        code = indented and (code or not rows[number - 1].strip()) if row.strip() else code
        if code or row.lstrip().startswith(">>> "):
            rows[number] = ""
    return "\n".join(rows)


def indentation(row):
    return len(row) - len(row.lstrip())


def markdown_passages(source):
    source = blanked(r"(?s)<!--.*?-->|<style.*?</style>|<script.*?</script>", source)
    source = blanked(r"(?ms)^ *(```|~~~).*?^ *\1", source)
    source = blanked(r"(?s)\$\$.*?\$\$|(?<!\\)\$[^$\n]+\$", source)
    source = re.sub(r"!?\[([^]]*)\]\((?:[^()]|\([^)]*\))*\)", r"\1", source)
    table = [row.lstrip().startswith("|") for row in source.split("\n")]
    rows = source.split("\n")
    prose = "\n".join(
        "" if in_table or row.startswith("    ") and previous_blank(rows, i) else row
        for i, (row, in_table) in enumerate(zip(rows, table))
    )
    for passage in paragraphs(prose, 1):
        yield Passage(passage.line, re.sub(r"(?m)^\s*(?:#+|>) ", "", passage.text))
    for number, (row, in_table) in enumerate(zip(rows, table), 1):
        if in_table:
            for cell in re.split(r"(?<!\\)\|", row):
                if len(cell.split()) > 1:
                    yield Passage(number, cell.strip())


def previous_blank(rows, index):
    """Whether the indented row belongs to a code block: what is before the indented rows is a blank line."""
    while index >= 0 and rows[index].startswith("    "):
        index -= 1
    return index < 0 or not rows[index].strip()


def blanked(pattern, text):
    """`text` without what matches, with its line breaks."""
    return re.sub(pattern, lambda match: "X" * ("\n" not in match[0]) + "\n" * match[0].count("\n"), text)


def notebook_passages(source):
    """Text and code of a notebook's cells, each line of which has its own line in the file."""
    starts = [number for number, row in enumerate(source.split("\n"), 1) if row.startswith('   "source": ')]
    for start, cell in zip(starts, json.loads(source)["cells"], strict=True):
        read = markdown_passages if cell["cell_type"] == "markdown" else python_passages
        for passage in read("".join(cell["source"])):
            yield Passage(start + passage.line, passage.text, passage.last_line and start + passage.last_line)


def template_passages(source):
    source = blanked(r"(?s)\{#.*?#\}|\{%.*?%\}|<style.*?</style>|<script.*?</script>", source)
    source = re.sub(r"\{\{.*?\}\}", "X", source)
    return paragraphs(blanked(r"(?s)<[^>]*>", source).replace("X", " "), 1)


def config_passages(source):
    """Comments of shell scripts, TOML and YAML."""
    block = "\n".join((re.search(r"(?:^|\s)#(?!!)\s*(.*)", row) or [None, ""])[1] for row in source.split("\n"))
    return paragraphs(block, 1)


READERS = {
    ".py": python_passages,
    ".md": markdown_passages,
    ".ipynb": notebook_passages,
    ".j2": template_passages,
    ".toml": config_passages,
    ".yaml": config_passages,
    "": config_passages,
}
