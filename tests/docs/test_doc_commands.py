"""Runs every command of the documentation in a small form, and parses those that a block declares as not run."""

import argparse
import importlib
import re
import shutil
import subprocess
import sys

import jobs
import pytest
from doc_pages import (
    BLOCKS,
    DOCS,
    PAGES,
    blocks,
    commands,
    edits,
    foreign_commands,
    inline_commands,
    page_name,
)

from baselines_ppo.cli.parser import parse
from baselines_ppo.config.registry import STOP_SETTINGS
from baselines_ppo.experiment.setup import resolve_config

BASH = [block for block in BLOCKS if block.language == "bash" and not block.changed]
RUNNABLE = [block for block in BASH if block.not_run is None and commands(block)]
# one of the blocks that have the same commands
RUN = list({tuple((one.module, one.words, one.ranks) for one in commands(block)): block for block in RUNNABLE}.values())
NOT_RUN = [one for block in BASH if block.not_run is not None for one in commands(block)] + [
    one for page in PAGES for one in inline_commands(page)
]


def test_a_block_that_is_not_run_has_a_reason():
    assert all(block.not_run is None or len(block.not_run.split()) >= 2 for block in BLOCKS)
    for page in PAGES:  # a note that precedes no block would have no effect
        assert page.read_text(encoding="utf-8").count("<!-- not run") == sum(
            block.not_run is not None for block in blocks(page)
        )


def test_bash_lines_are_commands_of_this_project_unless_their_block_is_not_run():
    found = [
        f"{page_name(block.page)}: {line}"
        for block in BASH
        if block.not_run is None
        for line in foreign_commands(block)
    ]
    assert not found


# ---- parsed


class Parsed(Exception):
    """Raised instead of executing a command."""


@pytest.mark.parametrize("command", [*(one for block in RUN for one in commands(block)), *NOT_RUN], ids=str)
def test_commands_are_valid_unchanged(command, page_folder, monkeypatch):
    page_folder(command.page)
    if command.module.endswith(".py"):
        assert (jobs.ROOT / command.module).is_file() or command.module == "script.py"
    elif command.module == "run":
        parsed_settings(command)
    else:
        original = argparse.ArgumentParser.parse_args

        def parse_args(self, argv=None, namespace=None):
            original(self, argv)
            raise Parsed

        monkeypatch.setattr("baselines_ppo.cli.parser.Parser.parse_args", parse_args)
        with pytest.raises(Parsed):
            importlib.import_module(f"baselines_ppo.{command.module}.__main__").main(list(command.words))


def parsed_settings(command):
    """Parse a command of run.py. Return its resolved settings if it starts a run, else None."""
    try:
        explicit, args = parse(command.words)
    except SystemExit as end:  # --help, --print-completion
        assert not end.code
        return None
    if "env" in explicit and not args.play:
        return resolve_config(explicit, command.ranks, cores=2).to_dict()
    assert args.play or args.resume or args.video or args.config
    return None


# ---- in a small form

SMALL = {
    "ppo": {"--timesteps-per-actorbatch": "256", "--optim-batchsize": "64", "--optim-epochs": "1"},
    "trpo": {"--timesteps-per-batch": "256"},
    "vpg": {"--timesteps-per-actorbatch": "256"},
}
LONG = tuple(f"--{name.replace('_', '-')}" for name in STOP_SETTINGS)


def option(words, name):
    return words[words.index(name) + 1] if name in words else None


def without(words, names):
    """Return the arguments without some options and their values."""
    return [word for word, before in zip(words, ("", *words)) if word not in names and before not in names]


def smaller(command):
    """Return a command's arguments with a small length, segment and number of epochs, and one value for a sweep's range."""
    words = list(command.words)
    if command.module == "sweep":
        words = [
            re.sub(r"^(\d+)-\d+$", r"\1", word)
            for word, before in zip(words, ("", *words))
            if word.startswith("--") or before.startswith("--")
        ]
        return (
            words
            if "--env" not in words
            else without(words, LONG)
            + ["--max-iters", "1", "--report", "false", *pairs(SMALL["ppo"] | {"--num-envs": "1"})]
        )
    if command.module != "run":
        return words
    if "--play" in words or "--video" in words:
        return without(words, ["--eval-episodes"]) + (["--eval-episodes", "1"] if "--eval-episodes" in words else [])
    if "--resume" in words:
        return (
            without(words, LONG)
            + ["--report", "false"]
            + (["--max-iters", "2"] if len(without(words, LONG)) < len(words) else [])
        )
    settings = parsed_settings(command)
    if settings is None or "--print-config" in words:
        return words
    small = SMALL[settings["alg"]] | {"--num-envs": "1", "--max-iters": "1", "--report": "false"}
    if settings["policy"] == "cnn":
        small |= {"--timesteps-per-actorbatch": "32", "--optim-batchsize": "32"}
    return without(words, (*LONG, *small)) + pairs(small)


def pairs(options):
    return [word for pair in options.items() for word in pair]


# ---- run

LAUNCHED = next(one for block in RUN for one in commands(block) if one.ranks > 1)


@pytest.fixture
def base(tmp_path_factory, monkeypatch):
    """A small run on Pendulum: the input of blocks whose own commands do not create it."""
    folder = tmp_path_factory.getbasetemp() / "base"
    if not folder.exists():
        words = [
            "--env",
            "Pendulum-v1",
            "--max-iters",
            "1",
            "--quiet",
            "--report",
            "false",
            *pairs(SMALL["ppo"] | {"--num-envs": "1"}),
        ]
        assert jobs.main_here(*words, "--run-dir", folder) == 0
    return folder


def makes(command):
    """Return the output path in a command's arguments, or None."""
    if command.module == "export":
        return command.words[-1]
    return (
        None
        if "--resume" in command.words
        else option(command.words, {"run": "--run-dir", "sweep": "--sweep-dir", "plot": "--out"}.get(command.module))
    )


def carry_out(command, folder):
    """Run a command in the working directory; return the exit status. Only `LAUNCHED` is run under a launcher, on two ranks."""
    words = smaller(command)
    if command == LAUNCHED:
        finished = subprocess.run(
            jobs.command(2, jobs.RUN_UNCOMPILED, *words), cwd=folder, capture_output=True, text=True, timeout=240
        )
        assert finished.returncode == 0, finished.stderr[-2000:]
        return 0
    if command.module == "run":
        try:
            return jobs.main_here(*words)
        except SystemExit as end:
            return end.code or 0
    program = {"program": (sys.executable, jobs.RUN_UNCOMPILED)} if command.module == "sweep" else {}
    return importlib.import_module(f"baselines_ppo.{command.module}.__main__").main(words, **program)


@pytest.mark.parametrize("block", RUN, ids=lambda block: f"{page_name(block.page)}-{commands(block)[0].words[:4]}")
def test_a_blocks_commands_run_in_order(block, base, page_folder, tmp_path, monkeypatch, uncompiled_here):
    page_folder(block.page)
    monkeypatch.setenv("PYTHONPATH", f"{jobs.ROOT}:{tmp_path}")  # a video is recorded in a separate process
    for display in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(display, raising=False)  # no window
    for command in commands(block):
        for word in command.words:
            if re.fullmatch(r"runs(/[\w/.-]+)?", word) and word != makes(command) and not (tmp_path / word).exists():
                run = re.sub(r"/(best|config\.json)$", "", word)
                shutil.copytree(base, tmp_path / run, dirs_exist_ok=True)
        assert carry_out(command, tmp_path) == 0, f"{command}: as {smaller(command)}"


# ---- run on code that a page's diffs have changed

DRIVER = """
import sys
from common.runtime.tf_import import import_tensorflow
import_tensorflow(threads=1)
from baselines_ppo.__main__ import main
from baselines_ppo.plot.__main__ import main as plot
from baselines_ppo.sweep.__main__ import main as sweep
from common.policies.base import Policy
Policy.xla = False
for program, *words in eval(sys.argv[1]):
    assert {"run": main, "sweep": sweep, "plot": plot}[program](words) == 0, words
"""


def test_the_recipe_for_a_new_objective_works(tmp_path):
    page = DOCS / "tutorials" / "new-objective.md"
    for package in ("baselines_ppo", "common"):
        shutil.copytree(jobs.ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for path, old, new in (one for block in blocks(page) if block.language == "diff" for one in edits(block)):
        text = (tmp_path / path).read_text()
        assert text.count(old) == 1, f"{path} has no single\n{old}"
        (tmp_path / path).write_text(text.replace(old, new))
    train, sweep, plot = (list(one.words) for block in blocks(page) if block.changed for one in commands(block))
    folder = plot[0]
    small = pairs(SMALL["ppo"] | {"--max-iters": "1", "--report": "false", "--run-dir": f"{folder}/run"})
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            DRIVER,
            repr([["run", *train, *small], ["sweep", *sweep[:-1], "runs/planned", "--dry-run"], ["plot", *plot]]),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (
        f"ppo ({option(train, '--objective')})" in done.stdout
        and done.stdout.count(f"--objective {option(train, '--objective')}") == 5
    )
    assert f"{plot[2]}={option(train, '--objective')}" in done.stdout
