"""Parses the pages of the documentation: fenced blocks, commands, tables, links, names of code."""

import ast
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from jobs import ROOT

DOCS = ROOT / "docs"
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")), *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(
    r"^(?:<!-- (?P<note>not run|file|changed): ?(?P<text_of_note>.*?) ?-->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.M | re.S,
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(r"`([\w/]+\.py): ([\w.]+)`")
COMMENT = re.compile(r"<!--.*?-->", re.S)
LAUNCHERS = ("mpirun", "mpiexec", "srun")
IGNORED_COMMANDS = ("pip install", "python -m pytest")  # `.ci/run` runs them


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: its file.
        language: the word after the opening fence.
        text: the text between the fences.
        not_run: the reason why it is not run; None if it is run.
        file: the file whose contents it shows, or None.
        changed: whether it is run on code that the page's diffs have changed.
    """

    page: Path
    language: str
    text: str
    not_run: str | None
    file: str | None
    changed: bool = False


@dataclass(frozen=True)
class Command:
    """A command of this project.

    Attributes:
        page: its page.
        module: "run"; or the name after `baselines_ppo.` in `python -m baselines_ppo.plot`; or a script's path.
        words: its arguments.
        ranks: number of ranks that a launcher starts.
        not_run: as in its block.
    """

    page: Path
    module: str
    words: tuple
    ranks: int = 1
    not_run: str | None = None

    def __str__(self):
        return f"{page_name(self.page)}: {self.module} {' '.join(self.words)}"


def page_name(page):
    """Return the path of a page in this repository, for the names of tests and for messages."""
    return page.relative_to(ROOT).as_posix()


def blocks(page):
    """Return the fenced blocks of a page, in order."""
    found = []
    for match in FENCE.finditer(page.read_text(encoding="utf-8")):
        note = {match["note"]: match["text_of_note"]}
        found.append(
            Block(page, match["language"], match["text"], note.get("not run"), note.get("file"), "changed" in note)
        )
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]


def parts(block):
    """Return the shell commands of a bash block, without comments."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [part for line in lines for part in re.split(r"\s(?:&&|\|\||;)\s", line) if shlex.split(part, comments=True)]


def commands(block):
    """Return the commands of this project in a bash block. A shell variable may only be the value of an option."""
    return [one for part in parts(block) if (one := command(part, block.page, block.not_run))]


def foreign_commands(block):
    """Return the commands of other programs in a bash block."""
    return [
        part
        for part in parts(block)
        if command(part, block.page) is None and not part.strip().startswith(IGNORED_COMMANDS)
    ]


def command(line, page, not_run=None):
    """Return the `Command` in a line of shell, or None."""
    words = shlex.split(line, comments=True)
    words = [word for word, before in zip(words, ("", *words)) if not word.startswith("$") or before.startswith("--")]
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    ranks = 1
    if words and words[0] in LAUNCHERS:
        counts = [int(after) for word, after in zip(words, words[1:]) if word in ("-n", "-np")]
        ranks, words = counts[0] if counts else 2, words[words.index("python") :] if "python" in words else []
    if words and words[0] in ("baselines-ppo", "./run.py"):
        return Command(page, "run", tuple(words[1:]), ranks, not_run)
    if not words or words[0] != "python" or len(words) < 2:
        return None
    if words[1] == "run.py":
        return Command(page, "run", tuple(words[2:]), ranks, not_run)
    if words[1] == "-m" and words[2].split(".")[0] == "baselines_ppo":
        return Command(page, words[2].partition(".")[2] or "run", tuple(words[3:]), ranks, not_run)
    return Command(page, words[1], tuple(words[2:]), ranks, not_run) if words[1].endswith(".py") else None


def edits(block):
    """Return [(path, old text, new text)] of a diff; each part starts with a line `+++ path`. Both texts include context."""
    found = []
    for part in re.split(r"^\+\+\+ ", block.text, flags=re.M)[1:]:
        path, _, lines = part.partition("\n")
        old, new = (
            "".join(line[1:] for line in lines.splitlines(keepends=True) if line[0] in signs) for signs in (" -", " +")
        )
        found.append((path.strip(), old, new))
    return found


def added_lines(block):
    """Return the lines that a diff adds."""
    return [line[1:] for line in block.text.splitlines() if line.startswith("+") and not line.startswith("+++ ")]


def inline_commands(page):
    """Return the commands of this project in the text of a page, between backticks."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return [
        one
        for span in re.findall(r"`((?:mpirun [^`\n]*?)?python [^`\n]+)`", text)
        if (one := command(span, page)) and one.words
    ]


def relative_links(page):
    """Return the targets of a page's links into this repository."""
    return [
        link for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))) if not re.match(r"[a-z]+:", link)
    ]


def anchors(page):
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def names_of_code(page):
    """Return [(path, name)] of the functions, classes and constants that a page names as `path: name`."""
    return NAMED.findall(page.read_text(encoding="utf-8"))


def defined_in(path):
    """Return the names that a module defines; those of its classes as Class.name."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", ())
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
        if hasattr(node, "name"):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{one.name}" for one in node.body if hasattr(one, "name")}
    return found


def rows(page, first):
    """Return the rows, {heading: cell}, of all tables of a page whose first heading is `first`."""
    found, headings = [], None
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if cells[:1] == [first]:
            headings = cells
        elif not cells:
            headings = None
        elif headings and not set(line) <= set("|-: "):
            found.append(dict(zip(headings, cells)))
    return found
