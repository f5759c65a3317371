"""The report of a complete run: its contents, its validity, that it loads nothing, and that it opens in a browser."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import jobs
import pytest
from PIL import Image
from run_pages import Page, page_of, write_run

from baselines_ppo.report import command as report
from baselines_ppo.report import figures as report_figures

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = write_run(tmp_path_factory.mktemp("report") / "run", seed=7, clip_param=0.15)
    assert report.main([str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def page(run):
    return Page((run / "report.html").read_text())


def decoded(uri):
    kind, data = re.fullmatch(r"data:image/([a-z+]+);base64,(.+)", uri).groups()
    return kind, base64.b64decode(data, validate=True)


# ---- contents


def test_the_page_names_the_run_and_its_metrics(page):
    # the last 100 of 240 returns -1500 + 5 i have the mean -1500 + 5 x 189.5; 48,000 steps in 24 s
    for words in (
        "Pendulum-v1",
        "ppo (clip), preset classic, mlp policy, seed 7, 2 ranks",
        "started 2024-05-06 07:08",
        "final return -552.5",
        "best evaluation 77 at 4,000 steps",
        "steps 48,000 100% of 30,000 steps, 240 episodes",
        "time 0:00:24",
        "steps per second 2,000",
    ):
        assert words in page.text


def test_the_best_return_is_of_a_full_window(tmp_path):
    folder = write_run(tmp_path / "run", film=False)
    rows = "".join(f"{r},10,{i}\n" for i, r in enumerate([900] + [0] * 99 + [2] * 100 + [1] * 100))
    (folder / "0.0.monitor.csv").write_text('#{"t_start": 0, "env_id": "A"}\nr,l,t\n' + rows)
    (folder / "1.0.monitor.csv").unlink()
    (folder / "progress.csv").unlink()  # which has other steps
    # the first mean of 100 is 9, that of the single first episode would be 900; then at most 2
    assert "best return 9 best mean of 100 episodes, at 1,000 steps" in page_of(folder).text


def test_evaluations_are_the_last_ten_and_the_best(page):
    rows = re.findall(r"([\d,]+) (?:best )?(\d+) ± 3.5", page.text)
    assert rows == [("4,000", "77"), *((f"{4000 * i:,}", str(78 - i)) for i in range(3, 13))]
    assert len([attrs for attrs in page.all("tr") if attrs.get("class") == "best"]) == 1


def test_every_setting_is_on_the_page_and_explicit_ones_are_marked(run, page):
    settings = json.loads((run / "config.json").read_text())["settings"]
    names = settings.keys() - {"policy_settings"} | settings["policy_settings"].keys()
    for name in names:
        assert f" {name} " in page.text
    assert "clip_param 0.15" in page.text and "vf_clip none" in page.text
    assert len([attrs for attrs in page.all("tr") if attrs.get("class") == "explicit"]) == len(
        json.loads((run / "config.json").read_text())["typed"]
    )


def test_panels_are_the_columns_of_progress_csv(page):
    titles = re.findall(
        r"(KL\(old policy ‖ new policy\)|Clip fraction|Entropy penalty|Entropy|Explained variance, truncated at -1|Value loss|Surrogate loss|"
        r"Step size|Episode length)",
        page.text,
    )
    # the entropy penalty is 0 throughout
    assert sorted(titles) == sorted(
        [
            "KL(old policy ‖ new policy)",
            "Clip fraction",
            "Entropy",
            "Explained variance, truncated at -1",
            "Value loss",
            "Surrogate loss",
            "Step size",
            "Episode length",
        ]
    )


def test_commands_for_next_steps_are_on_the_page(run, page):
    for command in (
        f"mpirun -n 2 python -m baselines_ppo --run-dir {run} --resume --num-timesteps 60000",
        f"python -m baselines_ppo --play --load-path {run} --deterministic",
        f"python -m baselines_ppo.plot {run} OTHER_RUN",
    ):
        assert command in page.text


# ---- validity


def test_the_page_loads_nothing_and_runs_no_script(run, page):
    assert not {"script", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in page.tags}
    for _, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert attrs.get(name, "#").startswith(("data:", "#")), attrs
    text = (run / "report.html").read_text()
    assert "url(" not in text and "@import" not in text
    for uri in re.findall(r"data:image/svg\+xml[^\"]+", text):
        assert not re.findall(rb"(?:href|src)=\"(?!#|data:)", decoded(uri)[1])


def test_ids_are_unique_and_references_resolve(page):
    assert max(Counter(page.ids).values()) == 1
    assert {attrs["aria-labelledby"] for attrs in page.all("section") if "aria-labelledby" in attrs} <= set(page.ids)


def test_images_decode_and_have_alt_texts(page):
    assert all(len(attrs["alt"]) > 20 for attrs in page.all("img"))
    uris = [attrs["src"] for attrs in page.all("img")] + [attrs["srcset"] for attrs in page.all("source")]
    kinds = Counter()
    for uri in uris:
        kind, data = decoded(uri)
        kinds[kind] += 1
        if kind == "svg+xml":
            assert ElementTree.fromstring(data).tag.endswith("svg")
        else:
            assert Image.open(io.BytesIO(data)).n_frames == 3
    assert kinds == {"gif": 1, "svg+xml": 4 + 2 * 8}


def test_the_curve_is_also_a_separate_image(run):
    with Image.open(run / "curve.png") as picture:
        assert picture.size == (1425, 585)
        picture.verify()


def test_names_are_escaped(tmp_path):
    folder = write_run(tmp_path / "a<b>&'c'", film=False, env="<script>alert(1)</script>")
    assert "<script>alert(1)</script>" in page_of(folder).text
    assert "<script" not in (folder / "report.html").read_text()


# ---- the command line


@pytest.mark.parametrize(
    "words, part",
    [(["nowhere"], "nowhere: no run found"), ([], "RUN"), (["."], "no run found"), (["--flim", "."], "--film")],
)
def test_invalid_arguments_are_refused_in_one_line(words, part, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert report.main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("baselines_ppo.report: error: ") and err.count("\n") == 1 and part in err
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_named(tmp_path, capsys):
    folder = write_run(tmp_path / "run")
    (folder / "0.0.monitor.csv").write_bytes(b"\xff\xfe")
    assert report.main([str(folder)]) == 2
    assert str(folder / "0.0.monitor.csv") in capsys.readouterr().err


def test_a_report_needs_no_tensorflow(run):
    code = (
        f"import sys; from baselines_ppo.report.__main__ import main; assert main([{str(run)!r}]) == 0; "
        "heavy = {'tensorflow', 'gymnasium', 'mpi4py', 'scipy', 'matplotlib.pyplot'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=jobs.ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# ---- in a browser


def browse(path, profile, *words):
    """Open a page in Chromium; return (its document, console messages and failed requests)."""
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            "--v=0",
            f"--user-data-dir={profile}",
            *words,
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line or "ERR_" in line]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_opens_in_a_browser(run, width, tmp_path):
    messages = browse(
        run / "report.html", tmp_path / "profile", f"--window-size={width},900", f"--screenshot={tmp_path / 'page.png'}"
    )[1]
    assert messages == []  # a request would be blocked by its policy and reported here
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.width == width and len(picture.convert("RGB").getcolors(1 << 20)) > 50
    # the same page in a frame of that width, with a script that measures it
    probe = (
        "<script>addEventListener('load', () => parent.document.title = JSON.stringify({images: [...document.images].map(i => i.naturalWidth), "
        "width: innerWidth, needed: document.documentElement.scrollWidth}))</script></body>"
    )
    text = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", (run / "report.html").read_text()).replace(
        "</body>", probe
    )
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<!DOCTYPE html><title></title><iframe style="border: 0; width: {width}px" srcdoc="{html.escape(text)}"></iframe>'
    )
    document, _ = browse(frame, tmp_path / "profile", "--window-size=1400,900", "--dump-dom")
    found = json.loads(re.search("<title>(.*?)</title>", document).group(1))
    assert len(found["images"]) == 10 and min(found["images"]) > 0
    assert found["width"] == width and found["needed"] <= width


def test_the_figures_have_the_colours_of_the_page():
    css = Path(report.__file__).with_name("report.html.j2").read_text()
    assert re.findall(r"--ink: (#\w+)", css) == [
        report_figures.THEME_COLORS["light"],
        report_figures.THEME_COLORS["dark"],
    ]
