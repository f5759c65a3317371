"""Hooks of `mkdocs build`: pages from outside of docs/, links to them, and equations as MathML.

GitHub and the site show the same files. A link of a page may therefore lead to any file of the repository, relative to the
page's own place in it. On the site, such a link leads to the copy of that page, or becomes plain text if it has none.
"""

import html
import os
import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
# pages that the section "Development" has in addition, if they exist
OPTIONAL = {"Changelog": "CHANGELOG.md", "Security": "SECURITY.md", "Code of conduct": "CODE_OF_CONDUCT.md"}
# files outside of docs/ that the site has at the same path
MIRRORED = (
    "CONTRIBUTING.md",
    *OPTIONAL.values(),
    "benchmarks/README.md",
    "examples/README.md",
    "benchmarks/archive/*.md",
    "benchmarks/results/*.md",
    "benchmarks/results/*.png",
)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
FENCED = re.compile(r"(^ *```.*?^ *```$)", re.M | re.S)
EQUATION = re.compile(r'<(span|div) class="arithmatex">\s*(.*?)\s*</\1>', re.S)


def on_config(config):
    """Add the optional pages to the navigation."""
    development = next(section["Development"] for section in config.nav if "Development" in section)
    development += [{title: path} for title, path in OPTIONAL.items() if (ROOT / path).exists()]
    return config


def on_files(files, config):
    """Add the mirrored files to those of docs/."""
    for pattern in MIRRORED:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Change the links that leave docs/: to the mirrored page, or to plain text if the site has no such page."""
    here = repository_path(page.file)

    def change(match):
        image, text, link = match.groups()
        if re.match(r"[a-z]+:|#", link):
            return match[0]
        path, _, anchor = link.partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), path))
        if not (ROOT / target).exists():
            return match[0]  # mkdocs reports it
        site_path = site_path_of(target, files)
        if site_path is None:
            return text
        relative = os.path.relpath(site_path, posixpath.dirname(page.file.src_uri) or ".")
        return f"{image}[{text}]({relative}{'#' + anchor if anchor else ''})"

    parts = FENCED.split(markdown)
    return "".join(part if i % 2 else LINK.sub(change, part) for i, part in enumerate(parts))


def repository_path(file):
    """Return the path of a page in the repository."""
    return Path(file.abs_src_path).resolve().relative_to(ROOT).as_posix()


def site_path_of(target, files):
    """Return the path of a file of the repository on the site; None if the site does not have it."""
    path = target.removeprefix("docs/")  # README.md is the home page on both
    return path if files.get_file_from_path(path) else None


def on_page_content(content, page, config, files):
    """Replace the TeX of equations by MathML, which browsers draw without a script."""
    return EQUATION.sub(lambda match: as_mathml(html.unescape(match[2]), match[1] == "div"), content)


def as_mathml(tex, is_block):
    r"""Return the MathML of an equation between \( and \), or \[ and \].

    Raises:
        ValueError: if it has a command that the converter does not know; the converter would show its name as text.
    """
    source = tex.strip().removeprefix("\\(" if not is_block else "\\[").removesuffix("\\)" if not is_block else "\\]")
    found = convert(source.strip(), display="block" if is_block else "inline")
    if "\\" in re.sub(r"&#x0*5C;", r"\\", found, flags=re.I):
        raise ValueError(f"cannot convert {source!r} to MathML")
    return f'<div style="overflow-x: auto">{found}</div>' if is_block else found  # wide ones scroll on small screens
