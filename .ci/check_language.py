#!/usr/bin/env python3
"""Language check: fails on wording that is not plain, conventional technical English.

It reads the pages (Markdown), the report's template, and all comments, docstrings and string literals of the Python files.

    python .ci/check_language.py                                the whole tree
    python .ci/check_language.py --package common/distributed   one package, page or file; may be repeated
    python .ci/check_language.py --count                        findings per pattern only

Output: one line `file:line: pattern: text` per finding; the exit status is 1 if there is one. Code spans, code blocks and formulas
are ignored in pages. A string literal counts if it holds at least two words and is not source code.
"""

import argparse
import ast
import bisect
import collections
import io
import re
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_SENTENCE_WORDS = 35
SKIPPED_AT_ROOT = {".git", "build", "dist", "runs"}
UNITS = r"(?:one|two|three|few|far|s|ms|seconds?|minutes?|steps?|iterations?|rows|columns|decades)"
ONE_PER = (
    r"(?:page|row|line|thread|process|step|tensor|host|rank|file|cell|core|core's|call|column|list|number|word|folder"
    r"|package|run|curve|seed|name|entry|block|dict|job|point|test|commit|value)"
)

# Name, with a plain form in brackets -> regular expressions. A passage has single spaces when it is matched.
PATTERNS = {
    "ellipsis (give the sentence a subject and a verb)": (
        r"\bThe price: ",
        r"\bAll of it, ",
        r"\b(?-i:Nor) (?:is|are|does|do|has|have|can|at|by|an?|the|what) ",
    ),
    "noun clause as a sentence (begin with a verb or a noun)": (
        r"(?:\A|(?<=[.:] ))(?-i:What) (?!is\b|are\b)[^?]*?[.:](?= |\Z)",
        r"\A(?-i:Which|Who|How (?!to\b))[^?]*\Z",
    ),
    "go on (resume, continue)": (r"\bgo(?:es|ing|ne)? on\b", r"\bwent on\b"),
    "cannot be; (invalid X: must be ...)": (
        r"\bcannot be[;:,](?= )",
        r"\bthat cannot be(?=[.,;)]|\Z)",
        r"; give (?:at least|at most|an?|one|none|numbers?|from)\b",
    ),
    "is no X (is not a X)": (
        r"(?<![Tt]here )\b(?:is|are|was|were) no (?!longer\b|more\b|less\b|fewer\b|better\b|worse\b|other\b|\w+er than\b)[a-z]",
        r"\bno whole\b",
    ),
    "of its own (its own, custom, separate)": (
        r"\bof (?:its|their|your|his|my|our|one's|\w+(?: \w+)?(?:'s|s')) own\b(?! (?:modules|types|code|files|names)\b)",
    ),
    "a X a Y (one X per Y)": (
        rf"\b(?:an?|one) {ONE_PER} an? (?!time\b|few\b|day\b|second\b)[a-z]",
        r"\b(?:two|three|four|\d+) an? (?:step|rank|host|core|environment|episode|iteration|run|row)\b",
    ),
    "say, tell, speak (print, log, report, state)": (
        r"\b(?:says|said|saying|tells|told|telling|speaks?|spoken|spoke)\b",
        r"\b(?:to|not|and|must|can|could|would|will) say\b",
        r"\bsay (?:so|what|how|which|why|where|it|nothing)\b",
        r"\bto tell\b",
        r"\btell of\b",
    ),
    "beside (compared with, next to, in addition to)": (r"\bbeside\b",),
    "apart (separately, significantly different)": (rf"(?:\A|\b(?!{UNITS}\b)[^ ]+ )apart\b(?! from\b)",),
    "earn (score)": (r"\bearn(?:s|ed|ing)?\b",),
    "stand (is, current, stall)": (
        r"\b(?:stands(?! for\b)|stood|standstill|standing)\b",
        r"\bstand(?=[.,;:)])",
        r"\bstand (?:in|at|before|behind|first|where|there|now|here|still|within|by|on|beside|under|over|above|below|as)\b",
    ),
    "archaic (must, again, forever)": (
        r"\b(?:shall|anew|afresh|lest|whence|hitherto|thereof|hither|ere)\b",
        r"\bfor ever\b",
    ),
    "translated idiom": (
        r"\bas (?:\w\S* ){1,3}(?:has|have) (?:it|them)\b",
        r"\btaken for\b(?! granted)",
        r"\bby much\b",
        r"\bsooner\b",
        r"\bmakes? of (?:it|them)\b",
        r"\bwhole again\b",
        r"\btoday's\b",
        r"\bwhatever (?:the|its|their|has|was|happens|a|an|it|they|is)\b",
        r"\b(?:of|by|for) (?:itself|themselves)\b",
        r"\bcomes? true\b",
        r"\bno matter\b",
        r"\ba slip of\b",
        r"\bas much as to\b",
        r"\btakes? no more\b",
        r"\bwhoever\b",
        r"\bat the (?:most|least)\b(?! one\b)",
        r"\bbut for\b",
        r"\bnothing moves\b",
        r"\bon (?:the|a) screen\b",
    ),
    "deviation (standard deviation)": (r"(?<!standard )\bdeviations?\b",),
    "project target (name the source)": (
        r"\bour aim\b",
        r"\b(?:its|their|these|against|held to a|held to the|to the|where a) bars?\b",
        r"\(bar [\d,]",
        r"\bbars? of \d",
        r"\bhoped for\b",
        r"\bwhat was asked of\b",
        r"\btarget \d",
    ),
    "death (termination)": (r"\bdeaths?\b", r"\bdies of\b"),
    "film (video)": (r"(?<!--)\bfilm(?:s|ed|ing)?\b(?!\.gif)",),
    "pictures (frames)": (r"\bpictures?\b",),
    "A block in which (Context manager that)": (r"\b[Aa] block (?:in which|that|with|which)\b",),
    "in words (as text)": (r"\bin words\b",),
    "whole or not at all (atomically)": (r"\bwhole,? or not\b", r"\ball or nothing\b"),
    "under way (in progress, running)": (r"\bunder way\b",),
    "mend (fix)": (r"\bmend(?:s|ed|ing)?\b",),
    "door (process exit, input boundary)": (r"\bdoors?\b",),
    "room (memory, capacity, upper bound)": (r"\brooms?\b",),
    "count as a verb (valid, used)": (r"\b(?:what|that|which|rows that) counts?\b",),
    "hand on, pass on (forward)": (
        r"\b(?:hands?|handed|handing|pass|passes|passed|passing) (?:it |them |all |this )?on\b(?! to the next)",
    ),
    "come to (is, equals)": (
        r"\bwhat (?:it|they|that|this) comes? to\b",
        r"\bcomes? to (?:a stand|an end|rest|light|the same|terms)\b",
        r"\bcame to a stand\b",
    ),
    "last words (exit reason, error message)": (r"\blast words?\b",),
    "drift (diverge)": (r"\bdrift(?:s|ed|ing)? (?:apart|away)\b",),
    "look at, take note (check, record)": (
        r"\blook(?:s|ed|ing)? whether\b",
        r"\blook(?:s|ed) at\b",
        r"\b(?:is|are|was|were|be|been|not) looked (?:for|after|into|up)\b",
        r"\b(?:takes?|took|taken|taking) note\b",
    ),
    "share out (split across)": (r"\bshar(?:e|es|ed|ing) out\b",),
    "pass over (skip)": (r"\b(?:pass|passes|passed|passing) over\b",),
    "newest (latest)": (r"\bnewest\b",),
    "by chance (at random, uninitialised)": (r"\bby chance\b",),
    "words of a command (arguments)": (
        r"\bwords of (?:a|the|its|this|that) (?:command|run|line)\b",
        r"\bcommand's words\b",
    ),
    "bits (bit-identical)": (
        r"\bto the (?:last )?bit\b",
        r"\b(?:the )?same bits\b",
        r"\bbit for bit\b",
        r"\blast bits\b",
    ),
    "history (present tense)": (
        r"\bwritten before the first run\b",
        r"\bchanged places since\b",
        r"\bversions on \w+ days\b",
        r"\bas told (?:below|above)\b",
    ),
}
PATTERNS = {name: re.compile("|".join(alternatives), re.IGNORECASE) for name, alternatives in PATTERNS.items()}
TOO_LONG = f"sentence above {MAX_SENTENCE_WORDS} words"


@dataclass(frozen=True)
class Exemption:
    """A finding that is allowed: its file (a glob), its pattern ("" for all), text that it contains, and the reason."""

    file: str
    pattern: str
    text: str
    reason: str


EXEMPTIONS = (
    Exemption(".ci/replaced_names.py", "", "", "lists the names that were replaced"),
    Exemption(".ci/check_language.py", "", "", "holds the patterns"),
    Exemption("tests/style/test_check_language.py", "", "", "holds examples of the patterns"),
    Exemption("tests/style/test_check_structure.py", "door", "module door", "an example of a replaced name"),
    Exemption("baselines_ppo/report/video.py", "film", 'tag "film"', "TensorBoard's tag of older runs"),
    Exemption("common/runtime/crash_stacks.py", "sentence above", "trap ''", "a shell script"),
    Exemption("tests/benchmarks/test_processors.py", "sentence above", "<testsuites>", "JUnit XML"),
    Exemption("README.md", "project target", "our aim", "a column that tests/docs/test_docs.py reads"),
    Exemption("tests/docs/test_docs.py", "project target", "our aim", "the name of that column"),
    Exemption("common/distributed/lock_watchdog.py", "sentence above", "trap ''", "a shell script"),
    Exemption("common/rollouts/segment.py", "sentence above", "| key of a segment", "a table"),
    Exemption("tests/faults/test_numbers.py", "sentence above", "loss_pol_surr is nan", "a message with its path"),
)


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
    ".j2": template_passages,
    ".toml": config_passages,
    ".yaml": config_passages,
    "": config_passages,
}


def findings(passage):
    """(line, pattern, text) of each finding in a passage."""
    text, line_of = in_one_line(passage)
    for name, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            yield line_of(match.start()), name, excerpt(text, match.start(), match.end())
    for sentence in re.finditer(r"\S.*?(?:[.!?][\"')*_\]]*(?= [\"'(*_\[]*[A-Z0-9])|\Z)", text):
        words = sum(bool(re.search(r"\w", word)) for word in sentence[0].split())
        if words > MAX_SENTENCE_WORDS and sentence[0].count(" = ") < 3:  # three: a calculation
            yield (
                line_of(sentence.start()),
                f"{TOO_LONG} ({words})",
                excerpt(text, sentence.start(), sentence.start() + 60, 0),
            )


def in_one_line(passage):
    """The passage with single spaces and without code spans, and a function from a position in it to a line of the file."""
    source = re.sub(r"``[^`]+``|`[^`]+`", lambda match: "CODE" + "\n" * match[0].count("\n"), passage.text)
    words, starts, lines, position = [], [], [], 0
    for match in re.finditer(r"\S+", source):
        words.append(match[0])
        starts.append(position)
        lines.append(passage.line + source.count("\n", 0, match.start()))
        position += len(match[0]) + 1

    def line_of(position):
        line = lines[bisect.bisect_right(starts, position) - 1]
        return line if passage.last_line is None else min(line, passage.last_line)

    return " ".join(words), line_of


def excerpt(text, start, end, margin=30):
    return text[max(0, start - margin) : end + margin].strip()


def check(path, root=ROOT):
    """Lines `file:line: pattern: text` of what is wrong in a file."""
    name = path.relative_to(root).as_posix()
    passages = READERS[path.suffix](path.read_text(encoding="utf-8"))
    found = sorted({finding for passage in passages for finding in findings(passage)})
    return [(f"{name}:{line}", pattern, text) for line, pattern, text in found if not is_exempt(name, pattern, text)]


def is_exempt(name, pattern, text):
    return any(
        Path(name).match(one.file) and pattern.startswith(one.pattern) and one.text in text for one in EXEMPTIONS
    )


def files(paths, root=ROOT):
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in inside:
            parts = file.relative_to(root).parts
            known = file.suffix in READERS and (file.suffix or parts[0] == ".ci")
            skipped = parts[0] in SKIPPED_AT_ROOT or any(
                re.fullmatch(r"__pycache__|\.\w+_cache|.*\.egg-info", part) for part in parts
            )
            if known and not skipped and file.is_file():
                yield file


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--package", action="append", type=Path, metavar="DIR", help="folder or file to check (default: the whole tree)"
    )
    parser.add_argument("--count", action="store_true", help="print the number of findings per pattern only")
    args = parser.parse_args(argv)
    found = [finding for path in files([path.resolve() for path in args.package or [ROOT]]) for finding in check(path)]
    if args.count:
        for pattern, count in collections.Counter(
            re.sub(r"words \(\d+\)", "words", pattern) for _, pattern, _ in found
        ).most_common():
            print(f"{count:5d} {pattern}")
    else:
        for place, pattern, text in found:
            print(f"{place}: {pattern}: {text}")
    print(f"language check: {len(found)} findings", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
