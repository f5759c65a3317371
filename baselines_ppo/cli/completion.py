"""Shell completion: the script that shtab makes of the parser of run.py."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from baselines_ppo.cli.errors import PROGRAM

SHELLS = ("bash", "zsh", "tcsh")
COMMAND = "baselines-ppo"  # the installed command, which gets the same completion


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the completion script of the parser of run.py for a shell."""
    import shtab  # loaded here because it doubles the time of --help

    text = shtab.complete(parser, shell)
    if shell == "bash":
        return f"{text}\ncomplete -o bashdefault -o default -F _shtab_run_py {PROGRAM} {COMMAND}\n"
    return text.replace(f"#compdef {PROGRAM}", f"#compdef {PROGRAM} {COMMAND}").replace(
        f"-N {PROGRAM}", f"-N {PROGRAM} {COMMAND}"
    )


def mark_paths(actions: Mapping[str, argparse.Action], files: tuple[str, ...], directories: tuple[str, ...]) -> None:
    """Make shtab complete options with the names of files or directories.

    Args:
        actions: {option: its argparse action}.
        files, directories: options.
    """
    import shtab

    for names, completer in ((files, shtab.FILE), (directories, shtab.DIRECTORY)):
        for name in names:
            actions[name].complete = completer  # type: ignore[attr-defined]
