"""processors.py: the variants that each processor runs, and the parsed output of pytest and oneDNN. `.ci/run` runs it."""

import json
import subprocess
import sys
from types import SimpleNamespace

import jobs
import pytest

from benchmarks.robustness import active_libraries, processors
from benchmarks.robustness.processor_variants import PROCESSORS, SHORT, cpu_flags, processor_variants
from benchmarks.robustness.processors import Outcome

HASWELL = {"sse4_2", "popcnt", "avx", "avx2", "fma", "f16c"}
SKYLAKEX = HASWELL | {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}
NEW = ["X86_V3", "X86_V4", "AVX512_ICL", "AVX512_SPR"]  # names since NumPy 2.4
# earlier names
OLD = [
    "SSSE3",
    "SSE41",
    "POPCNT",
    "SSE42",
    "AVX",
    "F16C",
    "FMA3",
    "AVX2",
    "AVX512F",
    "AVX512CD",
    "AVX512_SKX",
    "AVX512_ICL",
]

JUNIT = """<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite errors="1" failures="1" skipped="1" tests="5">
<testcase classname="tests.common.test_a" name="test_one" time="0.1" />
<testcase classname="tests.common.test_a" name="test_two[a - b]" time="0.1"><failure message="assert 1 == 2">...</failure></testcase>
<testcase classname="tests.common.test_a" name="test_two[c]" time="0.1"><skipped message="why" /></testcase>
<testcase classname="tests.common.test_b.TestThese" name="test_three" time="0.1"><error message="failed on setup">...</error></testcase>
<testcase classname="tests.common.test_b" name="test_four" time="0.1" />
</testsuite></testsuites>"""

VERBOSE = """onednn_verbose,v1,info,oneDNN v3.7.3 (commit N/A)
onednn_verbose,v1,info,cpu,runtime:threadpool,nthr:2
onednn_verbose,v1,info,cpu,isa:Intel AVX2
onednn_verbose,v1,info,gpu,runtime:none
onednn_verbose,v1,primitive,exec,cpu,gemm_api,,undef,src_f32::blocked:ab:f0,,,64x200:200x64,189.947
"""
FOUND = {
    "versions": {"Python": "3.11.7", "NumPy": "2.4.6"},
    "openblas": ["Haswell"],
    "numpy_features": [],
    "xla": "FMA",
    "openblas_threads": 1,
    "perturbed": None,
    "bits": {"NumPy's products": "a", "XLA": "b"},
}
CONVOLUTION = "onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2,forward_training,src:f32::blocked:acdb::f0,,,mb4_ic8oc16,8.1\n"


def select(*arguments):
    parser = processors.build_parser()
    return processors.select_variants(parser, parser.parse_args(arguments))


def runnable_variants(flags):
    return {name for name, one in processor_variants(NEW).items() if one.missing_flags(flags) is None}


@pytest.mark.parametrize(
    "flags, kinds",
    [
        (set(), set()),
        ({"sse4_2", "popcnt"}, {"nehalem"}),
        (HASWELL, {"nehalem", "sandybridge", "haswell", "zen"}),
        (SKYLAKEX, set(PROCESSORS)),
    ],
)
def test_processor_runs_the_variants_that_its_flags_allow(flags, kinds):
    assert runnable_variants(frozenset(flags)) == kinds | {
        "own",
        "onednn-off",
        "onednn-on",
        "one-thread",
        "two-threads",
        "perturbed",
        "perturbed-two-threads",
    }


def test_processor_with_avx2_has_eight_variants():
    # zen may use the kernels of haswell, and haswell those of this machine
    assert len(runnable_variants(frozenset(HASWELL)) - {"zen", "own", "haswell"}) >= 8


def test_reason_for_skipping_names_the_missing_flags():
    assert (
        processor_variants(NEW)["skylakex"].missing_flags(frozenset(HASWELL | {"avx512f"}))
        == "this processor lacks avx512bw, avx512cd, avx512dq, avx512vl"
    )


@pytest.mark.parametrize(
    "features, name, disabled",
    [
        (NEW, "nehalem", "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"),
        (NEW, "haswell", "X86_V4 AVX512_ICL AVX512_SPR"),
        (NEW, "skylakex", "AVX512_ICL AVX512_SPR"),
        (OLD, "nehalem", "AVX F16C FMA3 AVX2 AVX512F AVX512CD AVX512_SKX AVX512_ICL"),
        (OLD, "sandybridge", "F16C FMA3 AVX2 AVX512F AVX512CD AVX512_SKX AVX512_ICL"),
        (OLD, "zen", "AVX512F AVX512CD AVX512_SKX AVX512_ICL"),
        (OLD[:8], "haswell", None),
        ([], "nehalem", None),
    ],
)
def test_features_that_the_processor_lacks_are_disabled_by_numpys_names(features, name, disabled):
    assert processor_variants(features)[name].variables.get("NPY_DISABLE_CPU_FEATURES") == disabled


def test_existing_xla_flags_are_kept(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/tmp/x")
    assert processor_variants([])["haswell"].environment()["XLA_FLAGS"] == "--xla_dump_to=/tmp/x --xla_cpu_max_isa=AVX2"
    assert processor_variants([])["own"].environment()["XLA_FLAGS"] == "--xla_dump_to=/tmp/x"
    monkeypatch.delenv("XLA_FLAGS")
    assert processor_variants([])["haswell"].environment()["XLA_FLAGS"] == "--xla_cpu_max_isa=AVX2"


def test_cpu_flags_are_those_of_the_first_core_or_empty(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text(
        "processor\t: 0\nvmx flags\t: vnmi\nflags\t\t: fpu sse4_2 avx\nbugs\t:\n\nprocessor\t: 1\nflags\t\t: fpu\n"
    )
    assert cpu_flags(file) == {"fpu", "sse4_2", "avx"}
    file.write_text("processor\t: 0\nFeatures\t: fp asimd\n")
    assert cpu_flags(file) == cpu_flags(tmp_path / "none") == set()


def test_short_run_has_three_variants():
    assert [one.name for one in select("--short")] == list(SHORT) and len(SHORT) == 3


def test_unknown_variant_or_interpreter_is_rejected(capsys):
    for arguments, message in (
        (["--only", "pentium"], "unknown variant pentium; choose from own, nehalem"),
        (["--pythons", "python9.9"], "--pythons python9.9: no such Python interpreter"),
    ):
        with pytest.raises(SystemExit) as ended:
            select(*arguments)
        assert ended.value.code == 2 and message in capsys.readouterr().err


def test_run_can_consist_of_other_interpreters_only():
    (one, two) = select("--only", "--pythons", sys.executable, "--oldest")
    assert (one.python, one.oldest, two.name, two.python, two.oldest) == (
        sys.executable,
        False,
        "oldest",
        sys.executable,
        True,
    )
    assert "/" not in one.name  # it is the directory name of the virtual environment


def test_outcomes_are_counted_and_failed_tests_named(tmp_path):
    file = tmp_path / "tests.xml"
    file.write_text(JUNIT)
    found = processors.read_junit(file)
    assert (found.passed, found.failed, found.skipped) == (2, 2, 1)
    assert found.failing == ["test_a::test_two[a - b]", "TestThese::test_three"]


@pytest.mark.parametrize(
    "status, report, failing",
    [
        (0, "<testsuites/>", []),
        (1, JUNIT, ["test_a::test_two[a - b]", "TestThese::test_three"]),
        (5, None, ["pytest ended with status 5"]),
        (-11, None, ["pytest ended with status -11"]),
    ],
)
def test_abnormal_end_of_pytest_is_a_failure(status, report, failing, monkeypatch):
    def run(command, **_):
        if report:
            path = next(part for part in command if part.startswith("--junitxml=")).partition("=")[2]
            open(path, "w").write(report)
        return SimpleNamespace(returncode=status)

    monkeypatch.setattr(subprocess, "run", run)
    assert processors.run_tests("python", {}, []).failing == failing


def report_of(**changes):
    return active_libraries.parse_output(f"{VERBOSE}{active_libraries.PREFIX}{json.dumps(FOUND | changes)}\n")


def test_configuration_is_read_from_the_json_line_and_onednn_messages():
    found = report_of()
    assert (found["onednn"], found["tensorflow_threads"], found["onednn_operations"], found["openblas"]) == (
        "Intel AVX2",
        2,
        False,
        ["Haswell"],
    )
    assert active_libraries.parse_output(CONVOLUTION + active_libraries.PREFIX + "{}")["onednn_operations"]
    assert active_libraries.describe(found) == (
        "Python 3.11.7, NumPy 2.4.6; OpenBLAS Haswell; NumPy baseline; XLA with FMA; oneDNN Intel AVX2, "
        "operations disabled; threads: OpenBLAS 1, TensorFlow 2"
    )


def test_differences_to_the_machines_own_results_are_described():
    other = report_of(openblas=["Nehalem"], perturbed="7", bits={"NumPy's products": "c", "XLA": "b"})
    assert active_libraries.describe(other, report_of()).endswith(
        "products perturbed by one ulp, seed 7; results that differ from this machine's own: NumPy's products"
    )
    assert "Python" not in active_libraries.describe(other, report_of())
    assert active_libraries.describe(report_of(), report_of()).endswith("none of those compared")
    assert "Python 3.12.1" in active_libraries.describe(report_of(versions={"Python": "3.12.1"}), report_of())


@pytest.fixture
def scripted(monkeypatch, tmp_path):
    """Runs processors.main with the given arguments.

    `kernels` maps the requested OpenBLAS kernels to the used ones; the tests `failing` fail on Nehalem.
    """

    def run(*arguments, kernels=None, failing=()):
        def probe(python, environment):
            requested = environment.get("OPENBLAS_CORETYPE", "Own")
            return report_of(
                openblas=[(kernels or {}).get(requested, requested)], perturbed=environment.get("TEST_PERTURB_PRODUCTS")
            )

        def run_tests(python, environment, arguments):
            names = list(failing) if environment.get("OPENBLAS_CORETYPE") == "Nehalem" else []
            return Outcome(passed=3, failed=len(names), failing=names, seconds=1.5)

        monkeypatch.setattr(sys, "argv", ["processors.py", *arguments, "--output", str(tmp_path / "table.md")])
        monkeypatch.setattr(processors, "cpu_flags", lambda: frozenset(HASWELL))
        monkeypatch.setattr(processors, "probe", probe)
        monkeypatch.setattr(processors, "run_tests", run_tests)
        return processors.main(), (tmp_path / "table.md").read_text()

    return run


def test_table_has_rows_for_variants_that_ran_and_reasons_for_the_others(scripted, capsys):
    status, table = scripted(
        "--only",
        "own",
        "nehalem",
        "haswell",
        "zen",
        "skylakex",
        kernels={"Zen": "Haswell"},
        failing=["test_a::test_one"],
    )
    assert status == 1
    assert [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("|")][2:] == [
        "own",
        "nehalem",
        "haswell",
    ]
    assert "| nehalem | 3 | 1 | 0 | 2 | `test_a::test_one` |" in table
    assert (
        "- zen: not run: on this machine identical to haswell" in table
        and "- skylakex: not run: this processor lacks avx512" in table
    )
    output = capsys.readouterr().out
    assert (
        "[2/5] nehalem: OPENBLAS_CORETYPE='Nehalem'" in output
        and "FAILED test_a::test_one" in output
        and output.endswith(table)
    )


def test_status_is_0_if_all_pass_and_1_if_the_libraries_do_not_start(scripted, monkeypatch):
    assert scripted("--short")[0] == 0
    monkeypatch.setattr(
        processors, "run_variant", lambda *args: Outcome(failing=["NumPy and TensorFlow do not start: status -4: "])
    )
    assert processors.main() == 1


def test_long_tests_exist_and_are_numeric(request):
    conftest = str(jobs.ROOT / "tests" / "conftest.py")
    NUMERIC = next(
        one.NUMERIC for one in request.config.pluginmanager.get_plugins() if getattr(one, "__file__", None) == conftest
    )
    assert all((jobs.ROOT / "tests" / name).is_file() for name in NUMERIC)
    for name in processors.LONG:
        path, _, test = name.partition("::")
        assert path.removeprefix("tests/") in NUMERIC and (not test or f"def {test}(" in (jobs.ROOT / path).read_text())
