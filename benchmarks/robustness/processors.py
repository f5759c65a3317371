"""Run the numeric tests as on other processors and with other Python and library versions.

    python -m benchmarks.robustness.processors             all variants that this processor can run
    python -m benchmarks.robustness.processors --list      what each variant sets, and which cannot run and why; runs nothing
    python -m benchmarks.robustness.processors --short     three variants, with the fastest tests
    python -m benchmarks.robustness.processors --only nehalem -- tests/common/rollouts/test_advantages.py
    python -m benchmarks.robustness.processors --only --pythons python3.12 python3.13 --oldest --whole

The variants differ in kernels, instruction sets, threads and rounding. Prints the configuration of the numeric libraries in each variant and
a final table. The exit status is 1 if a test fails.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.markdown import markdown_table
from benchmarks.paths import ROOT
from benchmarks.robustness import active_libraries
from benchmarks.robustness.interpreters import find_interpreter, install
from benchmarks.robustness.processor_variants import SHORT, Variant, cpu_flags, processor_variants

# trainings, jobs of several ranks and other slow tests, which --short skips: 80 % of the time of the numeric tests
LONG = (
    *(
        f"tests/baselines_ppo/{name}.py"
        for name in (
            "experiment/test_warm_start",
            "export/test_export_observations",
            "export/test_writers",
            "test_pposgd_simple",
            "ranks/test_ranks",
            "test_vpg",
        )
    ),
    "tests/baselines_ppo/policies/test_cnn_learning.py::test_command_line_trains_a_game_and_saves_a_policy_that_plays",
    "tests/baselines_ppo/policies/test_cnn_learning.py::test_learns_to_catch_what_it_sees",
    "tests/baselines_ppo/test_invariants.py::test_each_compiled_function_is_traced_once_in_twenty_iterations",
    "tests/baselines_ppo/test_trpo.py::test_step_improves_the_surrogate_within_the_trust_region",
    "tests/baselines_ppo/test_trpo.py::test_learns_and_traces_each_compiled_function_once",
)


@dataclass
class Outcome:
    """Result of a variant.

    Attributes:
        passed, failed, skipped: numbers of tests.
        failing: names of the failed tests, or an error before the tests.
        seconds: of the tests; None if they did not run.
        configuration: of the numeric libraries, on one line.
        not_run: why the variant was skipped; None if it was not.
    """

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failing: list[str] = field(default_factory=list)
    seconds: float | None = None
    configuration: str = ""
    not_run: str | None = None

    def lines(self) -> list[str]:
        """The result as text."""
        if self.not_run:
            return [f"not run: {self.not_run}"]
        counts = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped, {self.seconds or 0:.0f} s"
        return [counts, *(f"FAILED {name}" for name in self.failing)]


def read_junit(path: Path) -> Outcome:
    """The `Outcome` in a file that pytest's --junitxml wrote."""
    outcome = Outcome()
    for case in ElementTree.parse(path).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            outcome.failed += 1
            class_name = case.get("classname", "").rpartition(".")[2]
            outcome.failing.append("::".join(filter(None, (class_name, case.get("name")))))
        elif "skipped" in kinds:
            outcome.skipped += 1
        else:
            outcome.passed += 1
    return outcome


def run_tests(python: str, environment: Mapping[str, str], arguments: Sequence[str]) -> Outcome:
    """Run pytest with these arguments and show its output; returns its `Outcome`."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "tests.xml"
        pytest = [python, "-m", "pytest", "--tb=short", "-p", "no:cacheprovider", f"--junitxml={report}"]
        began = time.monotonic()
        status = subprocess.run([*pytest, *arguments], cwd=ROOT, env=environment).returncode
        outcome = read_junit(report) if report.exists() else Outcome()
        outcome.seconds = time.monotonic() - began
    if status not in (0, 1) or (status and not outcome.failing):
        outcome.failing.append(f"pytest ended with status {status}")
    return outcome


def probe(python: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Configuration of the numeric libraries in a process of `python` with this environment.

    Raises:
        RuntimeError: if the process fails; the message ends with its error output.
    """
    done = subprocess.run(
        [python, "-m", "benchmarks.robustness.active_libraries"],
        cwd=ROOT,
        env=dict(environment) | {"ONEDNN_VERBOSE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        errors = " ".join(done.stderr.split()[-40:])
        raise RuntimeError(f"NumPy and TensorFlow do not start: status {done.returncode}: {errors}")
    return active_libraries.parse_output(done.stdout)


def run_variant(
    variant: Variant,
    arguments: Sequence[str],
    own: dict[str, Any],
    seen: dict[str, dict[str, Any]],
    venv_dir: Path,
) -> Outcome:
    """Run the tests in one variant.

    Args:
        variant: to run.
        arguments: of pytest.
        own: configuration of this machine without a variant.
        seen: {name: configuration} of the variants before; this one is added.
        venv_dir: parent of the virtual environments.
    """
    python, environment = sys.executable, variant.environment()
    if variant.python:
        print(f"    installing into {venv_dir / variant.name}", flush=True)
        try:
            python = install(variant.python, venv_dir / variant.name, variant.oldest)
        except subprocess.CalledProcessError as error:
            command = " ".join(map(str, error.cmd))
            return Outcome(failing=[f"the installation ended with status {error.returncode}: {command}"])
    try:
        found = own if variant.name == "own" else probe(python, environment)
    except RuntimeError as error:
        return Outcome(failing=[str(error)])
    for name, before in seen.items():
        if found == before:
            return Outcome(not_run=f"on this machine identical to {name}")
    seen[variant.name] = found
    configuration = active_libraries.describe(found, None if variant.name == "own" else own)
    print(f"    configuration: {configuration}", flush=True)
    outcome = run_tests(python, environment, arguments)
    outcome.configuration = configuration
    return outcome


def summary(outcomes: Mapping[str, Outcome]) -> str:
    """A Markdown table of the variants that ran, then the configuration of each, or why it was skipped."""
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
    header = ("variant", "passed", "failed", "skipped", "seconds", "failing tests")
    notes = [
        f"- {name}: {f'not run: {one.not_run}' if one.not_run else one.configuration}" for name, one in outcomes.items()
    ]
    return "\n".join([markdown_table(header, rows), "", *notes])


def build_parser() -> argparse.ArgumentParser:
    """The command line parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*", help="after --: arguments of pytest [those that select the numeric tests]")
    parser.add_argument("--short", action="store_true", help=f"{', '.join(SHORT)}, or --only; skip the slowest tests")
    parser.add_argument(
        "--only",
        action="extend",
        nargs="*",
        metavar="NAME",
        help="these variants; without a name: only those of --pythons and --oldest",
    )
    parser.add_argument(
        "--pythons",
        nargs="+",
        default=[],
        metavar="PYTHON",
        help="also run with these interpreters (commands or paths), each in a virtual environment with the latest versions of "
        "all dependencies",
    )
    parser.add_argument(
        "--oldest",
        action="store_true",
        help="also run with this interpreter and the oldest versions of all dependencies that setup.py allows",
    )
    parser.add_argument(
        "--venvs", metavar="DIR", help="keep the virtual environments here [a temporary directory, removed at the end]"
    )
    parser.add_argument("--whole", action="store_true", help="run the whole default suite instead of the numeric tests")
    parser.add_argument("--output", metavar="FILE", help="also write the table to this file")
    parser.add_argument(
        "--list", action="store_true", help="print what each variant sets, and which cannot run and why; run nothing"
    )
    return parser


def select_variants(parser: argparse.ArgumentParser, args: argparse.Namespace) -> list[Variant]:
    """The requested variants, in order; ends with status 2 for an unknown variant or interpreter."""
    import numpy as np

    known = processor_variants(np.show_config(mode="dicts")["SIMD Extensions"].get("found", []))
    names = args.only if args.only is not None else SHORT if args.short else known
    if unknown := [name for name in names if name not in known]:
        parser.error(f"unknown variant {unknown[0]}; choose from {', '.join(known)}")
    variants = [known[name] for name in names]
    for command in args.pythons:
        path = find_interpreter(command)
        if path is None:
            parser.error(f"--pythons {command}: no such Python interpreter; specify a command or a path")
        name = command.strip(os.sep).replace(os.sep, "-") if os.sep in command else command
        variants.append(Variant(name, python=path))
    if args.oldest:
        variants.append(Variant("oldest", python=sys.executable, oldest=True))
    return variants


def main() -> int:
    parser = build_parser()
    args = parser.parse_args()
    variants, flags = select_variants(parser, args), cpu_flags()
    settings = {one.name: " ".join(f"{key}={value!r}" for key, value in one.variables.items()) for one in variants}
    if args.list:
        for variant in variants:
            print(f"{variant.name}: {variant.missing_flags(flags) or settings[variant.name] or 'sets no variables'}")
        return 0
    numeric = ["-m", "numeric and not slow", *(f"--deselect={name}" for name in LONG if args.short)]
    arguments = args.tests or ([] if args.whole else numeric)
    own = probe(sys.executable, dict(os.environ))
    outcomes: dict[str, Outcome] = {}
    seen: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for number, variant in enumerate(variants, 1):
            print(f"[{number}/{len(variants)}] {variant.name}: {settings[variant.name] or 'no variables'}", flush=True)
            reason = variant.missing_flags(flags)
            if reason:
                outcome = Outcome(not_run=reason)
            else:
                outcome = run_variant(variant, arguments, own, seen, Path(args.venvs or temporary))
            outcomes[variant.name] = outcome
            print("\n".join(f"    {line}" for line in outcome.lines()), flush=True)
    print(f"\n{summary(outcomes)}")
    if args.output:
        Path(args.output).write_text(summary(outcomes) + "\n")
    return 1 if any(one.failing for one in outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
