"""Write the results in README.md and benchmarks/README.md, and the figure, from the committed results.

    python -m benchmarks.readme            write results/readme.json, the pages and the figure (extra: benchmarks)
    python -m benchmarks.readme --check    change nothing; exit status 1 if one of them is out of date

Run it after trainings or measurements have added lines to benchmarks/results.
"""

import argparse
import sys

from benchmarks.readme import figure, pages, summary
from common.errors import UserError

COMMAND = "python -m benchmarks.readme"


def outdated() -> list[str]:
    """Names of the files that differ from the committed results."""
    committed = summary.read()
    found = []
    if summary.without_intervals(committed) != summary.build(intervals=False):
        found.append(f"benchmarks/results/{summary.NAME}")
    for path, text in pages.rendered(committed).items():
        if path.read_text(encoding="utf-8") != text:
            found.append(str(path.relative_to(pages.paths.ROOT)))
    if figure.recorded_digest() != figure.digest(committed):
        found.append(f"benchmarks/results/{figure.NAME}")
    return found


def write() -> None:
    """Write all of them. The figure is drawn only if its data has changed."""
    current = summary.build()
    summary.write(current)
    for path, text in pages.rendered(current).items():
        path.write_text(text, encoding="utf-8")
    if not figure.path().exists() or figure.recorded_digest() != figure.digest(current):
        figure.draw(current)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit status 1 if a file is out of date [off]"
    )
    args = parser.parse_args()
    try:
        if not args.check:
            write()
            return 0
        found = outdated()
    except UserError as error:
        parser.error(str(error))
    for name in found:
        print(f"{name} is out of date; run {COMMAND}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
