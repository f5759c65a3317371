"""Completion for shells: shtab's script for `run.py`, made to serve what people type."""

import argparse

BASH = r"""
complete -o bashdefault -o default -F _shtab_run_py run.py baselines-ppo

# behind a launcher and Python: `python run.py`, `python -m baselines_ppo`, `mpirun -n 8 python run.py`; else files
_baselines_ppo_behind() {
  local at before words
  for ((at = 1; at < COMP_CWORD; at++)); do
    before=${COMP_WORDS[at - 1]}
    case ${COMP_WORDS[at]} in
      run.py | */run.py | baselines-ppo) ;;
      baselines_ppo) [[ $before == -m ]] || continue ;;
      *) continue ;;
    esac
    words=("${COMP_WORDS[@]:at}")
    local COMP_WORDS=("${words[@]}") COMP_CWORD=$((COMP_CWORD - at))
    _shtab_run_py
    return
  done
}
for _baselines_ppo_name in python python3 mpirun mpiexec srun; do
  complete -p "$_baselines_ppo_name" &> /dev/null || complete -o bashdefault -o default -F _baselines_ppo_behind "$_baselines_ppo_name"
done
unset _baselines_ppo_name
"""


def script(parser, shell):
    """The completion script of run.py's parser for a shell: bash, zsh or tcsh."""
    import shtab

    text = shtab.complete(parser, shell)
    if shell == "bash":
        return text + BASH
    return text.replace("#compdef run.py", "#compdef run.py baselines-ppo").replace(
        "-N run.py", "-N run.py baselines-ppo"
    )


def add_to(group, parser):
    """Give a parser `--print-completion`, and tell the shells which of its options name files and folders."""
    import shtab

    class PrintCompletion(argparse.Action):
        """Prints the script, and ends."""

        def __call__(self, parser_, namespace, shell, option_string=None):
            print(script(parser, shell))
            parser.exit()

    group.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=shtab.SUPPORTED_SHELLS,
        help="print a completion script for a shell, and end",
    )
    for action in parser._actions:
        if action.dest in ("run_dir", "load_path", "save_policy", "video", "config"):
            action.complete = shtab.DIRECTORY if action.dest == "run_dir" else shtab.FILE
