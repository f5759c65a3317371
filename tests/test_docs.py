"""The documentation is true: its blocks run, its commands are understood, its tables are the code's, its links and names lead somewhere."""
import argparse
import importlib
import importlib.util
import inspect
import os
import re
import shutil
import subprocess
from dataclasses import fields

import jobs
import pytest
from doc_pages import PAGES, anchors, blocks, commands, defined_in, inline_commands, names_of_code, relative_links, rows

from baselines_ppo.cli import POLICY_SETTINGS, RunSettings, algorithm_fields, parse, setting_names
from baselines_ppo.presets import PRESETS, Preset

BLOCKS = [block for page in PAGES for block in blocks(page)]
COMMANDS = [one for block in BLOCKS if block.language == "bash" for one in commands(block)]
INLINE = [one for page in PAGES for one in inline_commands(page)]
SETTINGS = jobs.ROOT / "docs" / "settings.md"

named_by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


# ---- links and names

@named_by_page
def test_links_lead_somewhere(page):
    for link in relative_links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_the_index_lists_every_page():
    listed = {link for link in relative_links(jobs.ROOT / "docs" / "README.md")}
    assert {page.name for page in PAGES[1:]} - {"README.md"} <= listed


@named_by_page
def test_functions_that_are_named_exist(page):
    for path, name in names_of_code(page):
        assert (jobs.ROOT / path).is_file(), f"{page.name}: {path}"
        assert name in defined_in(jobs.ROOT / path), f"{page.name}: {path}: {name}"


def test_a_block_that_is_not_run_says_why():
    assert all(block.not_run is None or len(block.not_run.split()) >= 2 for block in BLOCKS)
    for page in PAGES:  # a note that stands before no block would leave the block behind it running
        assert page.read_text(encoding="utf-8").count("<!-- not run") == sum(block.not_run is not None for block in blocks(page))


# ---- the table of settings

def value(text):
    """A value as the tables write it."""
    words = {"none": None, "true": True, "false": False}
    try:
        return words[text] if text in words else float(text)
    except ValueError:
        return text


def same(one):
    return float(one) if isinstance(one, int) and not isinstance(one, bool) else one


def default_in_code(name):
    """Every different default, in the order of the algorithms."""
    run = {one.name: one.default for one in fields(RunSettings)}
    if name in run:
        return [run[name]]
    if name in POLICY_SETTINGS:
        from baselines_ppo import CnnPolicy, MlpPolicy
        return list({inspect.signature(cls).parameters[name].default: None for cls in (MlpPolicy, CnnPolicy) if name in inspect.signature(cls).parameters})
    defaults = [one.default for one in algorithm_fields()[name].values()]
    return defaults[:1] if len(set(defaults)) == 1 else defaults


def presets_in_code(name):
    """{preset: its value} where that is not the default."""
    found = {}
    for preset, one in PRESETS.items():
        own = {"num_timesteps": one.num_timesteps, "num_envs": one.num_envs, "alg": one.alg, "checkpoint_every": one.checkpoint_every,
               "batch": "per-rank" if one.per_rank else "total"}
        own |= one.learn | one.policy.get("cnn", {}) | one.policy.get("mlp", {})
        base = {"num_envs": 1, "alg": "ppo", "batch": "total", "checkpoint_every": 25}.get(name)
        if base is None and name in algorithm_fields():
            base = algorithm_fields()[name][one.alg].default if one.alg in algorithm_fields()[name] else None
        elif base is None and name in POLICY_SETTINGS:
            base = default_in_code(name)[0]
        if name in own and own[name] != base:
            found[preset] = same(own[name])
    return found


@pytest.fixture(scope="module")
def settings_rows():
    return {row["setting"].strip("`"): row for row in rows(SETTINGS, "setting")}


def test_every_setting_has_a_row_with_meaning_unit_and_advice(settings_rows):
    assert settings_rows.keys() == setting_names()
    assert all(row[column] for row in settings_rows.values() for column in ("meaning", "unit", "what to do with it"))


@pytest.mark.parametrize("name", sorted(setting_names()))
def test_the_tables_default_and_presets_are_the_codes(settings_rows, name):
    row = settings_rows[name]
    assert [value(text) for text in re.findall(r"`([^`]+)`", row["default"])] == [same(one) for one in default_in_code(name)]
    found = dict(part.strip().replace("`", "").split(" ", 1) for part in row["presets with another"].split(";") if part.strip())
    assert {preset: value(text) for preset, text in found.items()} == presets_in_code(name)


def test_the_bases_that_presets_are_compared_with_are_the_codes():
    assert [(one.name, one.default) for one in fields(Preset) if one.name in ("num_envs", "alg", "per_rank", "checkpoint_every")] == \
        [("num_envs", 1), ("per_rank", False), ("alg", "ppo"), ("checkpoint_every", 25)]


# ---- blocks of Python

@pytest.fixture
def page_folder(tmp_path, monkeypatch):
    """A function (page) that makes a folder with the files whose contents the page shows, and goes there."""
    def enter(page):
        for block in blocks(page):
            if block.file:
                (tmp_path / block.file).write_text(block.text)
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
    return enter


@pytest.mark.parametrize("page", [page for page in PAGES if any(block.language == "python" for block in blocks(page))], ids=lambda page: page.stem)
def test_python_runs_as_it_stands(page, page_folder, monkeypatch):
    page_folder(page)
    monkeypatch.setattr("baselines_ppo.policies.Policy.xla", False)  # whose compilation would take three quarters of the time
    namespace = {"__name__": "__main__"}
    for block in blocks(page):
        if block.language == "python":
            code = compile(block.text, f"{page.name}, a block of Python", "exec")
            if block.not_run is None and block.file is None:
                exec(code, namespace)


# ---- commands

class Understood(Exception):
    """Raised where a command would begin its work."""


@pytest.mark.parametrize("command", COMMANDS + INLINE, ids=str)
def test_commands_are_understood(command, page_folder, monkeypatch):
    page_folder(command.page)
    if command.module.endswith(".py"):
        assert (jobs.ROOT / command.module).is_file() or command.module == "script.py"
    elif command.module == "run":
        understand(command)
    else:
        def parse_args(parser, argv):
            argparse.ArgumentParser.parse_args(parser, argv)
            raise Understood
        monkeypatch.setattr("baselines_ppo.cli.Parser.parse_args", parse_args)
        with pytest.raises(Understood):
            importlib.import_module(f"baselines_ppo.{command.module}").main(list(command.words))


def understand(command):
    """Parse a command of run.py and, where it starts a run, resolve its settings."""
    from baselines_ppo.resolve import settings_for
    try:
        typed, args = parse(command.words)
    except SystemExit as end:  # --help, --print-completion
        assert not end.code
        return
    if "env" in typed and not args.play:
        settings_for(typed, command.ranks, cores=2)
    else:
        assert args.play or args.resume or args.video or args.config


def first(condition, among=COMMANDS):
    return next((one for one in among if one.not_run is None and condition(one)), None)


def option(words, name):
    return words[words.index(name) + 1] if name in words else None


RESUME = first(lambda one: "--resume" in one.words)
REAL = {
    "train": first(lambda one: one.module == "run" and RESUME and option(one.words, "--run-dir") == option(RESUME.words, "--run-dir")),
    "resume": RESUME,
    "play": first(lambda one: "--play" in one.words),
    "mpirun": first(lambda one: one.module == "run" and one.ranks > 1),
    **{module: first(lambda one, module=module: one.module == module) for module in ("plot", "report", "export", "sweep")},
}
SMALL = {"--timesteps-per-actorbatch": "400", "--optim-batchsize": "100", "--optim-epochs": "1", "--num-timesteps": "800", "--report": "false"}
# what makes an example small, whatever it says itself
SMALLER = {"train": SMALL, "resume": {"--num-timesteps": "1600", "--report": "false"}, "play": {"--eval-episodes": "1"},
           "mpirun": SMALL | {"--run-dir": "runs/ranks"}, "sweep": SMALL | {"--sweep-dir": "runs/sweep"}}


def smaller(kind, words):
    """An example's words with `SMALLER`'s in place of its own; of several values of an option in a sweep the first."""
    changed, kept = SMALLER.get(kind, {}), []
    for word, before in zip(words, ("", *words)):
        if word in changed or before in changed:
            continue
        if kind == "sweep" and not word.startswith("--"):
            if not before.startswith("--"):
                continue
            word = re.sub(r"^(\d+)-\d+$", r"\1", word)
        kept.append(word)
    return [*kept, *(word for pair in changed.items() for word in pair)]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A folder to run examples in, with one run that was trained there, as the documentation has it."""
    folder = tmp_path_factory.mktemp("workshop")
    assert_runs("train", folder)
    return folder


def assert_runs(kind, folder):
    command = REAL[kind]
    trained = option(REAL["train"].words, "--run-dir")
    written = command.words[-1] if kind == "export" else option(command.words, "--out")
    for word in command.words if kind != "train" else ():
        if word.startswith("runs/") and "*" not in word and word != written and not (folder / word).exists():
            shutil.copytree(folder / trained, folder / word)  # a run that no example makes
    program = [jobs.RUN] if command.module == "run" else ["-m", f"baselines_ppo.{command.module}"]
    words = [*program, *smaller(kind, command.words)]
    environment = os.environ | {"PYTHONPATH": str(jobs.ROOT)}
    finished = subprocess.run(jobs.command(min(command.ranks, 2), *words), cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert finished.returncode == 0, f"{command}\n{finished.stdout[-1000:]}\n{finished.stderr[-2000:]}"


@pytest.mark.parametrize("kind", [kind for kind in REAL if kind != "train"])
def test_a_command_of_every_kind_runs(kind, workshop):
    assert REAL[kind] is not None, f"no page shows how to {kind}"
    assert_runs(kind, workshop)


