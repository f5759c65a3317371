"""Run the numeric tests as on other processors, and with other versions of Python: with other kernels, instruction sets, threads and last bits.

    python -m benchmarks.robustness.processors                                     all that this processor can run
    python -m benchmarks.robustness.processors --list                              what they set, and what is left out and why; runs nothing
    python -m benchmarks.robustness.processors --short                             three, with the quickest tests
    python -m benchmarks.robustness.processors --only nehalem -- tests/common/rollouts/test_advantages.py
    python -m benchmarks.robustness.processors --only --pythons python3.12 python3.13 --oldest --whole

Tells what was in force in each, ends with a table, and with status 1 if a test failed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.markdown import markdown_table
from benchmarks.robustness import active_libraries
from benchmarks.robustness.interpreters import ROOT, install, interpreter
from benchmarks.robustness.processor_variants import SHORT, Combination, combinations, cpu_flags

# whole trainings, jobs of several ranks and what takes seconds: four fifths of the time of the numeric tests, which --short leaves out
LONG = (
    *(
        f"tests/baselines_ppo/{name}.py"
        for name in (
            "experiment/test_warm_start",
            "export/test_export_observations",
            "export/test_writers",
            "test_pposgd_simple",
            "test_ranks",
            "test_vpg",
        )
    ),
    "tests/baselines_ppo/test_cnn_policy.py::test_command_line_trains_a_game_and_saves_a_policy_that_plays",
    "tests/baselines_ppo/test_cnn_policy.py::test_learns_to_catch_what_it_sees",
    "tests/baselines_ppo/test_invariants.py::test_each_compiled_function_is_traced_once_in_twenty_iterations",
    "tests/baselines_ppo/test_trpo.py::test_step_improves_the_surrogate_within_the_trust_region",
    "tests/baselines_ppo/test_trpo.py::test_learns_and_traces_each_compiled_function_once",
)


@dataclass
class Outcome:
    """What became of a combination.

    Attributes:
        passed, failed, skipped: numbers of tests.
        failing: names of the tests that failed, or what failed before there were any.
        seconds: of the tests; None if there were none.
        active_libraries: a line.
        not_run: why it was left out; None if it was not.
    """

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failing: list = field(default_factory=list)
    seconds: float | None = None
    active_libraries: str = ""
    not_run: str | None = None


def read_junit(path):
    """The `Outcome` of the tests in a file that pytest's --junitxml wrote."""
    outcome = Outcome()
    for case in ElementTree.parse(path).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            outcome.failed += 1
            outcome.failing.append(
                "::".join(filter(None, (case.get("classname", "").rpartition(".")[2], case.get("name"))))
            )
        elif "skipped" in kinds:
            outcome.skipped += 1
        else:
            outcome.passed += 1
    return outcome


def run_tests(python, environment, words):
    """The `Outcome` of pytest with these words; its own output is shown as it comes."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "tests.xml"
        began = time.monotonic()
        status = subprocess.run(
            [python, "-m", "pytest", "--tb=short", "-p", "no:cacheprovider", f"--junitxml={report}", *words],
            cwd=ROOT,
            env=environment,
        ).returncode
        outcome = read_junit(report) if report.exists() else Outcome()
        outcome.seconds = time.monotonic() - began
    if status not in (0, 1) or (status and not outcome.failing):
        outcome.failing.append(f"pytest ended with status {status}")
    return outcome


def probe(python, environment):
    """What is in force in processes of `python` with this environment, as `active_libraries.report` has it.

    Raises:
        RuntimeError: with the last words of the process, if it does not end well.
    """
    done = subprocess.run(
        [python, "-m", "benchmarks.robustness.active_libraries"],
        cwd=ROOT,
        env=environment | {"ONEDNN_VERBOSE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(
            f"NumPy and TensorFlow do not start: status {done.returncode}: {' '.join(done.stderr.split()[-40:])}"
        )
    return active_libraries.report(done.stdout)


def run_combination(one, words, own, seen, folder):
    """The `Outcome` of one combination.

    Args:
        words: of pytest.
        own: what is in force on this machine as it is.
        seen: {name: what was in force}, of those before; this one is added.
        folder: for virtual environments.
    """
    python, environment = sys.executable, one.environment()
    if one.python:
        print(f"    installing into {folder / one.name}", flush=True)
        try:
            python = install(one.python, folder / one.name, one.oldest)
        except subprocess.CalledProcessError as error:
            return Outcome(
                failing=[f"the installation ended with status {error.returncode}: {' '.join(map(str, error.cmd))}"]
            )
    try:
        found = own if one.name == "own" else probe(python, environment)
    except RuntimeError as error:
        return Outcome(failing=[str(error)])
    for name, before in seen.items():
        if found == before:
            return Outcome(not_run=f"on this machine the same as {name}")
    seen[one.name] = found
    line = active_libraries.described(found, None if one.name == "own" else own)
    print(f"    in force: {line}", flush=True)
    outcome = run_tests(python, environment, words)
    outcome.active_libraries = line
    return outcome


def table(outcomes):
    """The summary, in Markdown: what ran, then what was in force and what was left out."""
    rows = [
        (
            name,
            str(one.passed),
            str(one.failed),
            str(one.skipped),
            "" if one.seconds is None else f"{one.seconds:.0f}",
            "; ".join(f"`{test}`" for test in one.failing) or "none",
        )
        for name, one in outcomes.items()
        if one.not_run is None
    ]
    lines = [
        f"- {name}: {f'not run: {one.not_run}' if one.not_run else one.active_libraries}"
        for name, one in outcomes.items()
    ]
    return "\n".join(
        [markdown_table(("combination", "passed", "failed", "skipped", "seconds", "failing tests"), rows), "", *lines]
    )


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "tests", nargs="*", help="after --: words for pytest, in place of those that choose the numeric tests"
    )
    parser.add_argument(
        "--short", action="store_true", help=f"{', '.join(SHORT)}, without the longest tests; with --only those"
    )
    parser.add_argument(
        "--only",
        action="extend",
        nargs="*",
        metavar="NAME",
        help="these combinations; none: those of --pythons and --oldest alone",
    )
    parser.add_argument(
        "--pythons",
        nargs="+",
        default=[],
        metavar="PYTHON",
        help="also with these interpreters, commands or paths, each in a virtual environment of its own with the newest of all dependencies",
    )
    parser.add_argument(
        "--oldest",
        action="store_true",
        help="also with this interpreter and the oldest of all dependencies that setup.py allows",
    )
    parser.add_argument(
        "--venvs", metavar="DIR", help="where the virtual environments stay [a temporary folder, removed at the end]"
    )
    parser.add_argument("--whole", action="store_true", help="the whole default suite, in place of the numeric tests")
    parser.add_argument("--output", metavar="FILE", help="write the table there, too")
    parser.add_argument(
        "--list",
        action="store_true",
        help="show what each combination sets, and what cannot run here and why; run nothing",
    )
    args = parser.parse_args(argv)
    args.error = parser.error
    return args


def chosen(args):
    """The combinations that the arguments ask for, in order; ends with status 2 if there is one that does not exist."""
    import numpy as np

    known = combinations(np.show_config(mode="dicts")["SIMD Extensions"].get("found", []))
    names = args.only if args.only is not None else SHORT if args.short else known
    if unknown := [name for name in names if name not in known]:
        args.error(f"no combination is called {unknown[0]}; there are {', '.join(known)}")
    found = [known[name] for name in names]
    for word in args.pythons:
        if (path := interpreter(word)) is None:
            args.error(f"--pythons {word}: no such Python interpreter; give a command or a path")
        found.append(
            Combination(Path(word).name if os.sep not in word else word.strip(os.sep).replace(os.sep, "-"), python=path)
        )
    return found + ([Combination("oldest", python=sys.executable, oldest=True)] if args.oldest else [])


def main():
    args = parse()
    todo, flags, outcomes, seen = chosen(args), cpu_flags(), {}, {}
    if args.list:
        for one in todo:
            print(
                f"{one.name}: {one.cannot_run(flags) or ' '.join(f'{key}={value!r}' for key, value in one.variables.items()) or 'nothing is set'}"
            )
        return 0
    words = args.tests or (
        [] if args.whole else ["-m", "numeric and not slow", *(f"--deselect={name}" for name in LONG if args.short)]
    )
    own = probe(sys.executable, dict(os.environ))
    with tempfile.TemporaryDirectory() as temporary:
        for number, one in enumerate(todo, 1):
            print(
                f"[{number}/{len(todo)}] {one.name}: {' '.join(f'{key}={value!r}' for key, value in one.variables.items()) or 'no variables'}",
                flush=True,
            )
            reason = one.cannot_run(flags)
            found = (
                Outcome(not_run=reason)
                if reason
                else run_combination(one, words, own, seen, Path(args.venvs or temporary))
            )
            outcomes[one.name] = found
            print(
                f"    not run: {found.not_run}"
                if found.not_run
                else f"    {found.passed} passed, {found.failed} failed, {found.skipped} skipped, "
                f"{found.seconds or 0:.0f} s{''.join(f'{os.linesep}    FAILED {name}' for name in found.failing)}",
                flush=True,
            )
    print(f"\n{table(outcomes)}")
    if args.output:
        Path(args.output).write_text(table(outcomes) + "\n")
    return 1 if any(one.failing for one in outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
