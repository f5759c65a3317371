#!/usr/bin/env python3
"""Language check: fails on wording that is not plain, conventional technical English.

It reads the pages (Markdown), the notebooks, the report's template, and all comments, docstrings and string literals of the Python files.

    python .ci/check_language.py                                the whole tree
    python .ci/check_language.py --package common/distributed   one package, page or file; may be repeated
    python .ci/check_language.py --count                        findings per pattern only

Output: one line `file:line: pattern: text` per finding; the exit status is 1 if there is one. Code spans, code blocks and formulas
are ignored in pages. A string literal counts if it holds at least two words and is not source code.
"""

import argparse
import bisect
import collections
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from language_patterns import PATTERNS
from prose import READERS

ROOT = Path(__file__).resolve().parents[1]
MAX_SENTENCE_WORDS = 35
SKIPPED_AT_ROOT = {".git", "build", "dist", "runs"}
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
    Exemption(".ci/check_language.py", "", "", "quotes what is exempt"),
    Exemption(".ci/language_patterns.py", "", "", "holds the patterns"),
    Exemption("tests/style/test_check_language.py", "", "", "holds examples of the patterns"),
    Exemption("tests/style/test_check_structure.py", "door", "module door", "an example of a replaced name"),
    Exemption("baselines_ppo/report/video.py", "film", 'tag "film"', "TensorBoard's tag of older runs"),
    Exemption("common/runtime/crash_stacks.py", "sentence above", "trap ''", "a shell script"),
    Exemption("tests/benchmarks/test_processors.py", "sentence above", "<testsuites>", "JUnit XML"),
    Exemption("common/distributed/lock_watchdog.py", "sentence above", "trap ''", "a shell script"),
    Exemption("common/rollouts/segment.py", "sentence above", "| key of a segment", "a table"),
    Exemption("tests/faults/test_numbers.py", "sentence above", "loss_pol_surr is nan", "a message with its path"),
)


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
