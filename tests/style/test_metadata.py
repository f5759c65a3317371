"""The metadata of the package, and the files at the root of the project that other programs read."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from doc_pages import FENCE, anchors, relative_links
from jobs import ROOT
from packaging.metadata import Metadata
from packaging.specifiers import SpecifierSet

from baselines_ppo import __version__
from baselines_ppo.cli.parser import parse

REPOSITORY = "https://git.example/someone/baselines_ppo"
PAGES = [
    ROOT / name for name in ("CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md", ".github/PULL_REQUEST_TEMPLATE.md")
]
PYTHONS = ["3.11", "3.12", "3.13"]


def build_metadata(directory, readme=None, repository=""):
    """Build the metadata from setup.py, with another README if one is given; validate and return it."""
    pytest.importorskip("setuptools", minversion="77")  # as pyproject.toml requires; the extra `test` installs it
    for name in ("setup.py", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, directory / name)
    if readme is not None:
        (directory / "README.md").write_text(readme, encoding="utf-8")
    environ = os.environ | {"BASELINES_PPO_REPOSITORY": repository}
    subprocess.run(
        [sys.executable, "setup.py", "-q", "egg_info"], cwd=directory, env=environ, check=True, capture_output=True
    )
    return Metadata.from_email((directory / "baselines_ppo.egg-info" / "PKG-INFO").read_bytes())


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    return build_metadata(tmp_path_factory.mktemp("metadata"))


@pytest.fixture(scope="module")
def metadata_with_repository(tmp_path_factory):
    return build_metadata(tmp_path_factory.mktemp("metadata"), repository=REPOSITORY + "/")


# ---- what a package index shows


def test_metadata_names_version_authors_and_purpose(metadata):
    assert (metadata.name, str(metadata.version)) == ("baselines_ppo", __version__)
    assert metadata.author == "the baselines_ppo developers"
    assert "independent" in metadata.summary and "PPO" in metadata.summary and "heir" not in metadata.summary
    assert metadata.keywords and metadata.description_content_type == "text/markdown"


def test_license_is_an_spdx_expression(metadata):
    assert metadata.license_expression == "MIT" and metadata.license_files == ["LICENSE"]
    assert not any(one.startswith("License ::") for one in metadata.classifiers)  # PEP 639: not both


def test_classifiers_agree_with_the_package(metadata):
    versions = re.findall(r"Programming Language :: Python :: (3\.\d+)", "\n".join(metadata.classifiers))
    assert versions == PYTHONS
    supported = SpecifierSet(str(metadata.requires_python))
    assert [f"3.{minor}" for minor in range(30) if f"3.{minor}.5" in supported] == PYTHONS
    groups = {one.split(" :: ")[0] for one in metadata.classifiers}
    assert {"Development Status", "Intended Audience", "Operating System", "Topic", "Typing"} <= groups
    assert ("Typing :: Typed" in metadata.classifiers) == (ROOT / "baselines_ppo" / "py.typed").is_file()


def test_classifiers_are_known_to_the_package_index(metadata):
    known = pytest.importorskip("trove_classifiers")
    assert [one for one in metadata.classifiers if one not in known.classifiers] == []


def test_urls_are_given_only_if_the_address_is_known(metadata, metadata_with_repository):
    assert not metadata.project_urls and not metadata.home_page
    urls = metadata_with_repository.project_urls
    assert {"Source", "Changelog", "Issues"} <= set(urls)
    assert all(url == REPOSITORY or url.startswith(REPOSITORY + "/") for url in urls.values())


# ---- the README as a description

SAMPLE = """\
# Title

[![status](docs/status.svg)](docs/runs.md) ![curve](docs/curve.png "a curve")
[a page](docs/runs.md#plot), [`code`](common/x.py), [here](#title) and [the paper](https://arxiv.org/abs/1707.06347).
<img src="docs/film.gif" width="300"> <a href="LICENSE">MIT</a>, `[not](a/link)`

```bash
echo "[not](a/link)" ![not](an/image)
```
"""
WITHOUT_ADDRESS = """\
# Title

a page, `code`, here and [the paper](https://arxiv.org/abs/1707.06347).
MIT, `[not](a/link)`

```bash
echo "[not](a/link)" ![not](an/image)
```
"""
WITH_ADDRESS = """\
# Title

[![status](R/raw/HEAD/docs/status.svg)](R/blob/HEAD/docs/runs.md) ![curve](R/raw/HEAD/docs/curve.png "a curve")
[a page](R/blob/HEAD/docs/runs.md#plot), [`code`](R/blob/HEAD/common/x.py), [here](R#title) and [the paper](https://arxiv.org/abs/1707.06347).
<img src="R/raw/HEAD/docs/film.gif" width="300"> <a href="R/blob/HEAD/LICENSE">MIT</a>, `[not](a/link)`

```bash
echo "[not](a/link)" ![not](an/image)
```
"""


@pytest.mark.parametrize(
    "repository, expected",
    [
        ("", WITHOUT_ADDRESS),
        (REPOSITORY, WITH_ADDRESS.replace("R/", f"{REPOSITORY}/").replace("(R#", f"({REPOSITORY}#")),
    ],
)
def test_relative_links_become_absolute_or_text(tmp_path, repository, expected):
    description = build_metadata(tmp_path, SAMPLE, repository).description
    lines = [line.strip() for line in description.strip().splitlines()]
    assert [line for line in lines if line] == [line for line in expected.splitlines() if line]


class Targets(HTMLParser):
    """Collects the links and images of a page."""

    def __init__(self, html):
        super().__init__()
        self.links, self.images = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.links += [named[name] for name in ("href",) if named.get(name)]
        self.images += [named[name] for name in ("src", "srcset") if named.get(name)]


def test_rendered_description_has_no_relative_link(metadata, metadata_with_repository):
    markdown = pytest.importorskip("readme_renderer.markdown")
    plain = Targets(markdown.render(metadata.description))
    linked = Targets(markdown.render(metadata_with_repository.description))
    for target in plain.links + plain.images + linked.links + linked.images:
        # the renderer links each heading to itself
        assert target.startswith(("https://", "mailto:", "#user-content-")), target
    own = [link for link in linked.links if link.startswith(REPOSITORY)]
    assert own and not any(link.startswith(REPOSITORY) for link in plain.links + plain.images)
    for link in own + [image for image in linked.images if image.startswith(REPOSITORY)]:
        path = re.sub(r"^/(?:blob|raw)/HEAD/", "", link.removeprefix(REPOSITORY)).partition("#")[0]
        assert (ROOT / path).exists(), link


# ---- citation, changelog, pages


def test_citation_names_this_version_and_the_authors_of_the_package(metadata):
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # required by the schema of CFF 1.2.0
    assert citation["version"] == __version__ and citation["license"] == "MIT" and citation["type"] == "software"
    assert [one["name"].lower() for one in citation["authors"]] == [metadata.author]


def test_changelog_has_an_entry_for_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.M)
    assert headings and headings[0].startswith(f"{__version__} - ")
    kinds = re.findall(r"^### (.*)$", text, re.M)
    assert kinds and set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_of_the_projects_pages_lead_somewhere(page):
    for link in relative_links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists() and (not anchor or anchor in anchors(target)), f"{page.name}: {link}"


# ---- GitHub's files


def test_pages_that_githubs_files_name_exist():
    files = [path for path in (ROOT / ".github").rglob("*") if path.is_file()]
    named = {name for path in files for name in re.findall(r"[\w./-]+\.(?:md|py)\b", path.read_text(encoding="utf-8"))}
    assert named and [name for name in named if not (ROOT / name).exists()] == []


def github_files(folder):
    yaml = pytest.importorskip("yaml")
    files = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / folder).glob("*.yml")}
    assert files
    return files


def test_issue_forms_have_the_keys_that_github_requires():
    forms = github_files(".github/ISSUE_TEMPLATE")
    del forms["config"]
    assert len(forms) >= 3
    for form in forms.values():
        assert {"name", "description", "body"} <= set(form) <= {"name", "description", "body", "labels", "title"}
        ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
        labels = [part["attributes"]["label"] for part in form["body"] if part["type"] != "markdown"]
        assert ids and len(set(ids)) == len(ids) and len(set(labels)) == len(labels)
        for part in form["body"]:
            assert part["type"] in ("markdown", "textarea", "input", "dropdown", "checkboxes")
            assert "value" in part["attributes"] or part["type"] != "markdown"
            assert "options" in part["attributes"] or part["type"] not in ("dropdown", "checkboxes")


def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_workflows_run_the_stages_of_ci_on_all_versions_of_python():
    workflows = github_files(".github/workflows")
    commands = [step["run"] for workflow in workflows.values() for step in steps(workflow) if "run" in step]
    stages = re.findall(r"^stage (?:pip install .*|(.*))$", (ROOT / ".ci" / "run").read_text(), re.M)
    assert [stage for stage in stages if stage and stage not in commands] == []
    matrix = workflows["tests"]["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == PYTHONS and len(matrix["os"]) == 2
    assert any("mkdocs build --strict" in command for command in commands)


def test_workflows_have_few_rights_and_fixed_actions():
    for workflow in github_files(".github/workflows").values():
        assert workflow["permissions"] == {"contents": "read"} and "concurrency" in workflow
        assert all("timeout-minutes" in job for job in workflow["jobs"].values())
        for step in steps(workflow):
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/none@v1"))
            if "setup-python" in step.get("uses", ""):
                assert step["with"]["cache"] == "pip"


# ---- the image for Docker


def instructions(name):
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith(name + " ")]


def test_image_copies_what_the_package_needs_and_its_command_is_valid(tmp_path):
    sources = [source for line in instructions("COPY") for source in line.split()[:-1]]
    assert {"setup.py", "pyproject.toml", "README.md", "LICENSE", "baselines_ppo", "common"} == set(sources)
    ignored = (ROOT / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[0] == "*" and {f"!{source}" for source in sources} <= set(ignored)
    (command,) = instructions("CMD")
    program, *arguments = json.loads(command)
    assert program == "baselines-ppo" and parse(arguments)[0]["env"] == "CartPole-v1"
    assert instructions("USER") not in ([], ["root"], ["0"])


def test_blocks_of_the_projects_pages_are_none():
    """Commands on these pages would not be run by the tests of the documentation."""
    assert [page.name for page in PAGES if FENCE.search(page.read_text(encoding="utf-8"))] == []
