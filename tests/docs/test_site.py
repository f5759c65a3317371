"""The site: `mkdocs build --strict` passes, equations are MathML, no page loads anything from another host."""

import re
import shutil
import subprocess
import sys

import jobs
import pytest
from doc_pages import DOCS, PAGES

FOREIGN = re.compile(
    r"<(?:script|img|iframe|source|video)\b[^>]*\bsrc=\"(?:https?:)?//|<link\b(?![^>]*canonical)[^>]*href=\"(?:https?:)?//"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The directory of the built site."""
    for module in ("mkdocs", "material", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=jobs.ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    yield folder
    shutil.rmtree(folder)


def pages_of(site):
    return {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}


def test_every_page_of_the_documentation_is_on_the_site(site):
    built = pages_of(site)
    for page in PAGES:
        if page.is_relative_to(DOCS):
            name = page.relative_to(DOCS).with_suffix("").as_posix()
            expected = f"{name}/index.html" if page.name != "README.md" else f"{name.removesuffix('README')}index.html"
            assert expected in built


def test_no_page_loads_anything_from_another_host(site):
    built = pages_of(site)
    assert built
    for name, text in built.items():
        assert not FOREIGN.search(text), f"{name}: {FOREIGN.search(text)[0]}"
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//", style.read_text(encoding="utf-8")), style.name


def test_equations_are_mathml(site):
    built = pages_of(site)
    for name in ("ppo", "trpo", "a2c-reinforce", "symbols"):
        page = built[f"algorithms/{name}/index.html"]
        source = (DOCS / "algorithms" / f"{name}.md").read_text(encoding="utf-8")
        assert page.count('display="block"') == source.count("$$") // 2 > 0
        assert "arithmatex" not in page and "$$" not in page


def test_every_setting_has_an_anchor(site):
    page = pages_of(site)["reference/settings/index.html"]
    for name in re.findall(r"^### `(\w+)`$", (DOCS / "reference" / "settings.md").read_text(encoding="utf-8"), re.M):
        assert f'id="{name}"' in page


def test_the_methods_of_a_policy_are_on_the_page_of_policies(site):
    page = pages_of(site)["reference/api/policies/index.html"]
    for name in ("act", "predict", "save", "load", "pd", "vpred", "get_variables", "get_trainable_variables"):
        assert f'id="baselines_ppo.Policy.{name}"' in page, name
