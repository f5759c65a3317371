"""Completion in a real bash, installed with the commands of docs/reference/command-line.md."""

import os
import shlex
import subprocess
import sys

import jobs
import pytest
from doc_pages import blocks, commands

PAGE = jobs.ROOT / "docs" / "reference" / "command-line.md"
# like bash at a press of Tab: passes the unfinished command line to the completion function of its first word
PRESS = r"""
source ~/.bashrc
press() {
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
  local spec; spec=$(complete -p "${1##*/}") || return
  [[ $spec =~ -F\ ([^ ]+) ]] && "${BASH_REMATCH[1]}" 2> /dev/null
  echo "${COMPREPLY[@]}"
}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home directory in which the bash block of the page has been run, with `baselines-ppo` on the path."""
    home = tmp_path_factory.mktemp("home")
    program = home / "bin" / "baselines-ppo"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(jobs.ROOT))} exec {shlex.quote(sys.executable)} -m baselines_ppo "$@"\n'
    )
    program.chmod(0o755)
    (home / "runs").mkdir()
    (home / "run.json").touch()
    bash(
        home,
        next(block.text for block in blocks(PAGE) if block.language == "bash" and "bash" in commands(block)[0].words),
    )
    return home


def bash(home, script):
    """Run a bash script in a home directory and return the lines that it prints."""
    environment = os.environ | {"HOME": str(home), "PATH": f"{home / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], cwd=home, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_flags_choices_files_and_directories_are_completed(home):
    typed = {
        "baselines-ppo --clip-p": "--clip-param",
        "run.py --env Hopper-v4 --objective a": "adaptive_kl",
        "./run.py --alg ": "ppo trpo vpg",
        "./run.py --vers": "--version",
        "baselines-ppo --resume e": "exact",
        "baselines-ppo --run-dir ru": "runs",  # not the file
        "baselines-ppo --config ru": "run.json runs",
    }
    pressed = "\n".join(f"press {line}{chr(39) * 2 if line.endswith(' ') else ''}" for line in typed)
    found = [" ".join(sorted(line.split())) for line in bash(home, PRESS + pressed)]
    assert dict(zip(typed, found, strict=True)) == typed


def test_other_commands_are_not_completed(home):
    lines = bash(
        home, "source ~/.bashrc; complete -p baselines-ppo; complete -p python mpirun 2> /dev/null || echo none"
    )
    assert lines == ["complete -o bashdefault -o default -F _shtab_run_py baselines-ppo", "none"]
