"""Mutation testing: six bugs that still let rewards rise, and the tests that detect each.

    python -m benchmarks.robustness.mutation_testing                  write the table to results/mutations.md
    python -m benchmarks.robustness.mutation_testing --no-returns     tests of equations and invariants only
    python -m benchmarks.robustness.mutation_testing --no-returns --quick --only "lambda ignored"

Each mutation is made in a copy of the source tree; the tests are part of the default run. The exit status is 1 if no test of an equation
detects a mutation, or if the return task that was made for it does not.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.markdown import markdown_table
from benchmarks.paths import RESULTS, ROOT

Edit = tuple[str, str, str]  # file, original text, replacement
# name: edits (file, original text, replacement)
MUTATIONS: dict[str, list[Edit]] = {
    "lambda ignored": [("common/rollouts/advantages.py", "gamma * lam * nonterminal", "gamma * nonterminal")],
    # oldpi is copied once, in the first iteration, and stays the initial policy
    "oldpi not updated": [
        (
            "common/rollouts/processor.py",
            "        self.sync_oldpi()\n        if",
            '        if not hasattr(self, "copied"):\n            self.sync_oldpi()\n        self.copied = True\n        if',
        ),
        (
            "common/rollouts/processor.py",
            "flat[:samples].reshape(",
            "self.oldpi.forward(tf.constant(all_x[:samples]))[0].numpy().reshape(",
        ),
    ],
    "normaliser not updated": [("common/training/loop.py", "self.pi.ob_rms.update(", "(lambda ob: None)(")],
    "time limit treated as termination": [
        ("common/rollouts/collector.py", "if not has_terminated and self.bootstrap_time_limits:", "if False:")
    ],
    "entropy sign flipped": [
        (
            "baselines_ppo/pposgd_simple.py",
            "pol_entpen = -settings.entcoeff * ent",
            "pol_entpen = settings.entcoeff * ent",
        )
    ],
    "Adam bias correction missing": [
        ("common/mpi_adam.py", "alpha = stepsize * tf.sqrt(1 - beta2**t) / (1 - beta1**t)", "alpha = stepsize")
    ],
}
# mutation: the return task that was made for it; tests/returns/test_returns.py also makes these mutations, in its own process
REQUIRED_TASKS = {
    "normaliser not updated": "far away",
    "time limit treated as termination": "ring",
    "entropy sign flipped": "bandit",
}
EQUATIONS = (
    "tests/common/rollouts/test_advantages.py",
    "tests/common/test_mpi_adam.py",
    "tests/baselines_ppo/test_objectives.py",
    "tests/common/rollouts/test_collector.py",
    "tests/baselines_ppo/test_invariants.py",
    "tests/baselines_ppo/test_pposgd_simple.py",
)
RETURNS = ("tests/returns/test_returns.py",)
TASK = re.compile(r"test_best_of_three_[^[]*\[(.*)\]$")  # name of a failed return test


def mutate(text: str, edit: Edit) -> str:
    """Apply one edit to the text of its file.

    Raises:
        ValueError: if the original text does not occur exactly once.
    """
    name, old, new = edit
    if text.count(old) != 1:
        raise ValueError(f"{name} contains {old!r} {text.count(old)} times instead of once; update the mutation")
    return text.replace(old, new)


def copy_tree(tree: Path, edits: Sequence[Edit]) -> None:
    """Copy all tracked and untracked, not ignored files to `tree` and apply the edits."""
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, listed):
        if (ROOT / name).exists():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes((ROOT / name).read_bytes())
    for edit in edits:
        path = tree / edit[0]
        path.write_text(mutate(path.read_text(), edit))


def failing_tests(tree: Path, files: Sequence[str], arguments: Sequence[str] = ()) -> list[str]:
    """Names of the tests that fail in `tree`; `arguments` are passed to pytest."""
    pytest = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider"]
    env = os.environ | {"PYTHONPATH": str(tree)}
    done = subprocess.run([*pytest, *arguments, *files], cwd=tree, capture_output=True, text=True, env=env)
    if done.returncode not in (0, 1):
        raise SystemExit(f"pytest ended with status {done.returncode}: {done.stdout[-500:]} {done.stderr[-500:]}")
    return sorted(
        re.sub(r"^\S*/", "", line.split(" ", 1)[1].split(" - ")[0])
        for line in done.stdout.splitlines()
        if line.startswith(("FAILED ", "ERROR "))
    )


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-returns", action="store_true", help="skip the return tests; write no table")
    parser.add_argument(
        "--quick", action="store_true", help="stop at the first failing test, in one process; write no table"
    )
    parser.add_argument("--only", nargs="+", choices=MUTATIONS, help="mutations [all]; write no table")
    args = parser.parse_args()
    if not args.no_returns and not any((ROOT / "tests/reference").glob("*.json")):
        parser.error(
            "the return tests have no references; create them with python -m benchmarks.returns.references, or use --no-returns"
        )
    args.pytest = ("-n", "0", "-x") if args.quick else ()
    with tempfile.TemporaryDirectory() as tree:
        copy_tree(Path(tree), [])
        failing = failing_tests(Path(tree), EQUATIONS if args.no_returns else EQUATIONS + RETURNS, args.pytest)
    if failing:
        parser.error(f"{failing[0]} fails without a mutation, so the results would be meaningless; fix it first")
    return args


def main() -> int:
    args = parse_arguments()
    rows, undetected = [], []
    for name in args.only or MUTATIONS:
        with tempfile.TemporaryDirectory() as tree:
            copy_tree(Path(tree), MUTATIONS[name])
            failing = failing_tests(Path(tree), EQUATIONS, args.pytest)
            failing_returns = [] if args.no_returns else failing_tests(Path(tree), RETURNS)
        tasks = [match[1] for test in failing_returns if (match := TASK.search(test))]
        if not failing:
            undetected.append(f"{name}: no test of an equation or invariant fails")
        if not args.no_returns and name in REQUIRED_TASKS and REQUIRED_TASKS[name] not in tasks:
            undetected.append(f"{name}: the return task {REQUIRED_TASKS[name]!r}, which was made for it, passes")
        first = f"{len(failing)}: `{failing[0]}`" if failing else "**none**"
        rows.append((name, first, "; ".join(tasks) or ("not run" if args.no_returns else "none")))
        print(*rows[-1], sep=" | ", flush=True)
    if not args.no_returns and not args.quick and not args.only:
        header = ("mutation", "failing tests of equations and invariants: number and first", "failing return tasks")
        (RESULTS / "mutations.md").write_text(
            "# Mutation testing\n\n`python -m benchmarks.robustness.mutation_testing`\n\n"
            f"{markdown_table(header, rows)}\n"
        )
    for line in undetected:
        print(f"mutation_testing.py: {line}", file=sys.stderr)
    return 1 if undetected else 0


if __name__ == "__main__":
    sys.exit(main())
