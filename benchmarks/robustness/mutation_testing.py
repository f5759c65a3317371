"""Six ways to break the build while rewards still rise: which tests of equations and invariants, and which returns, see each.

    python -m benchmarks.robustness.mutation_testing                  the table, into results/mutations.md
    python -m benchmarks.robustness.mutation_testing --no-returns     the equations and invariants alone
    python -m benchmarks.robustness.mutation_testing --no-returns --quick --only "lambda ignored"

Each is made in a copy of the tree; the tests that the table names are those of the default run. Ends with status 1 if a mutation is seen by no
test of an equation, or not by the return task that is there for it.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.markdown import markdown_table
from benchmarks.paths import RESULTS, ROOT

# name: [(file, what is there, what is put there)]
MUTATIONS = {
    "lambda ignored": [("common/rollouts/advantages.py", "gamma * lam * nonterminal", "gamma * nonterminal")],
    # oldpi stays the first pi: it is made once, in the first iteration
    "oldpi not updated": [
        (
            "common/rollouts/processor.py",
            "        self.sync_oldpi()\n        steps",
            '        if not hasattr(self, "copied"):\n            self.sync_oldpi()\n        self.copied = True\n        steps',
        ),
        (
            "common/rollouts/processor.py",
            "flat[:samples].reshape(",
            "self.oldpi.forward(tf.constant(all_x[:samples]))[0].numpy().reshape(",
        ),
    ],
    "normaliser not updated": [("common/training/loop.py", 'self.pi.ob_rms.update(seg["ob"][seg["valid"]])', "pass")],
    "time limit treated as death": [
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
# the return tasks that are there for a mutation; tests/returns/test_returns.py makes it in its own process
MUST_SEE = {
    "normaliser not updated": "far away",
    "time limit treated as death": "ring",
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
TASK = re.compile(r"test_the_best_of_three_[^[]*\[(.*)\]$")  # a failed return test's name


def mutated(tree, edits):
    """Write a copy of the committed and changed files into `tree`, with the edits made; each must fit exactly one place."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    for name in filter(None, listed):
        if (ROOT / name).exists():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes((ROOT / name).read_bytes())
    for name, old, new in edits:
        text = (tree / name).read_text()
        if text.count(old) != 1:
            raise SystemExit(
                f"{name} holds {old!r} {text.count(old)} times, not once: this mutation needs to be written anew"
            )
        (tree / name).write_text(text.replace(old, new))


def failing(tree, files, words=()):
    """The names of the tests that fail; `words` are pytest's."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider", *words, *files],
        cwd=tree,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tree)},
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"pytest ended with status {done.returncode}: {done.stdout[-500:]} {done.stderr[-500:]}")
    return sorted(
        re.sub(r"^\S*/", "", line.split(" ", 1)[1].split(" - ")[0])
        for line in done.stdout.splitlines()
        if line.startswith(("FAILED ", "ERROR "))
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-returns", action="store_true", help="leave out the return tests, and write nothing")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="stop at the first test that sees a mutation, in one process; writes nothing",
    )
    parser.add_argument("--only", nargs="+", choices=MUTATIONS, help="some of them [all]; writes nothing")
    args = parser.parse_args()
    if not args.no_returns and not any((ROOT / "tests/reference").glob("*.json")):
        parser.error(
            "the return tests have no references yet; make them by python -m benchmarks.returns.references, or leave the tests out by --no-returns"
        )
    with tempfile.TemporaryDirectory() as tree:
        mutated(Path(tree), [])
        if broken := failing(
            Path(tree), EQUATIONS if args.no_returns else EQUATIONS + RETURNS, ("-n", "0", "-x") if args.quick else ()
        ):
            parser.error(
                f"{broken[0]} fails without a mutation; mend it first, for else every mutation would seem to be seen"
            )
    rows, unseen = [], []
    for name in args.only or MUTATIONS:
        with tempfile.TemporaryDirectory() as tree:
            mutated(Path(tree), MUTATIONS[name])
            seen = failing(tree, EQUATIONS, ("-n", "0", "-x") if args.quick else ())
            tasks = (
                [] if args.no_returns else [match[1] for one in failing(tree, RETURNS) if (match := TASK.search(one))]
            )
        unseen += [] if seen else [f"{name}: seen by no test of an equation or invariant"]
        if not args.no_returns and name in MUST_SEE and MUST_SEE[name] not in tasks:
            unseen.append(f"{name}: not seen by the return task that is there for it, {MUST_SEE[name]}")
        rows.append(
            (
                name,
                f"{len(seen)}: `{seen[0]}`" if seen else "**none**",
                "; ".join(tasks) or ("not run" if args.no_returns else "none"),
            )
        )
        print(*rows[-1], sep=" | ", flush=True)
    if not args.no_returns and not args.quick and not args.only:
        table = markdown_table(
            ("mutation", "tests of equations and invariants that fail, and the first", "return tests that fail"), rows
        )
        (RESULTS / "mutations.md").write_text(
            f"# Six mutations, and what sees them\n\n`python -m benchmarks.robustness.mutation_testing`\n\n{table}\n"
        )
    for line in unseen:
        print(f"mutation_testing.py: {line}", file=sys.stderr)
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main())
