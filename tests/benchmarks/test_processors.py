"""What processors.py runs on which processor, and what it makes of what pytest and oneDNN say. That it runs: `.ci/run`."""

import subprocess
import sys
from types import SimpleNamespace

import jobs
import pytest
from packaging.requirements import Requirement

from benchmarks.robustness import active_libraries, interpreters, processors
from benchmarks.robustness.processor_variants import PROCESSORS, SHORT, combinations, cpu_flags
from benchmarks.robustness.processors import Outcome

HASWELL = {"sse4_2", "popcnt", "avx", "avx2", "fma", "f16c"}
SKYLAKEX = HASWELL | {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}
NEW = ["X86_V3", "X86_V4", "AVX512_ICL", "AVX512_SPR"]  # NumPy's names since 2.4
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
]  # before

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


def runnable(flags):
    return {name for name, one in combinations(NEW).items() if one.cannot_run(flags) is None}


@pytest.mark.parametrize(
    "flags, kinds",
    [
        (set(), set()),
        ({"sse4_2", "popcnt"}, {"nehalem"}),
        (HASWELL, {"nehalem", "sandybridge", "haswell", "zen"}),
        (SKYLAKEX, set(PROCESSORS)),
    ],
)
def test_a_processor_runs_what_its_flags_allow_and_all_that_needs_none(flags, kinds):
    assert runnable(frozenset(flags)) == kinds | {
        "own",
        "onednn-off",
        "onednn-on",
        "one-thread",
        "two-threads",
        "perturbed",
        "perturbed-two-threads",
    }


def test_a_processor_with_avx2_alone_has_eight_combinations():
    assert (
        len(runnable(frozenset(HASWELL)) - {"zen", "own", "haswell"}) >= 8
    )  # zen's kernels may be haswell's, and haswell this machine's own


def test_the_reason_to_leave_one_out_names_what_is_lacking():
    assert (
        combinations(NEW)["skylakex"].cannot_run(frozenset(HASWELL | {"avx512f"}))
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
def test_numpy_is_denied_what_the_processor_has_not_under_the_names_that_numpy_has(features, name, disabled):
    assert combinations(features)[name].variables.get("NPY_DISABLE_CPU_FEATURES") == disabled


def test_flags_of_xla_that_were_there_before_stay(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/tmp/x")
    assert combinations([])["haswell"].environment()["XLA_FLAGS"] == "--xla_dump_to=/tmp/x --xla_cpu_max_isa=AVX2"
    assert combinations([])["own"].environment()["XLA_FLAGS"] == "--xla_dump_to=/tmp/x"
    monkeypatch.delenv("XLA_FLAGS")
    assert combinations([])["haswell"].environment()["XLA_FLAGS"] == "--xla_cpu_max_isa=AVX2"


def test_flags_are_those_of_the_first_core_and_none_where_there_is_no_list(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text(
        "processor\t: 0\nvmx flags\t: vnmi\nflags\t\t: fpu sse4_2 avx\nbugs\t:\n\nprocessor\t: 1\nflags\t\t: fpu\n"
    )
    assert cpu_flags(file) == {"fpu", "sse4_2", "avx"}
    file.write_text("processor\t: 0\nFeatures\t: fp asimd\n")
    assert cpu_flags(file) == cpu_flags(tmp_path / "none") == set()


def test_the_short_run_is_three_combinations():
    assert [one.name for one in processors.chosen(processors.parse(["--short"]))] == list(SHORT) and len(SHORT) == 3


def test_an_unknown_combination_or_interpreter_is_refused_before_anything_runs(capsys):
    for words, said in (
        (["--only", "pentium"], "no combination is called pentium; there are own, nehalem"),
        (["--pythons", "python9.9"], "--pythons python9.9: no such Python interpreter"),
    ):
        with pytest.raises(SystemExit) as ended:
            processors.chosen(processors.parse(words))
        assert ended.value.code == 2 and said in capsys.readouterr().err


def test_other_interpreters_can_be_all_that_runs():
    (one, two) = processors.chosen(processors.parse(["--only", "--pythons", sys.executable, "--oldest"]))
    assert (one.python, one.oldest, two.name, two.python, two.oldest) == (
        sys.executable,
        False,
        "oldest",
        sys.executable,
        True,
    )
    assert "/" not in one.name  # names the folder of its virtual environment


def test_outcomes_are_counted_and_what_failed_is_named(tmp_path):
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
def test_tests_that_do_not_end_well_are_a_failure(status, report, failing, monkeypatch):
    def run(words, **_):
        if report:
            path = next(word for word in words if word.startswith("--junitxml=")).partition("=")[2]
            open(path, "w").write(report)
        return SimpleNamespace(returncode=status)

    monkeypatch.setattr(subprocess, "run", run)
    assert processors.run_tests("python", {}, []).failing == failing


def report_of(**changes):
    return active_libraries.report(f"{VERBOSE}{active_libraries.HEAD}{active_libraries.json.dumps(FOUND | changes)}\n")


def test_what_is_in_force_is_read_from_both_voices_of_the_process():
    found = report_of()
    assert (found["onednn"], found["tensorflow_threads"], found["onednn_operations"], found["openblas"]) == (
        "Intel AVX2",
        2,
        False,
        ["Haswell"],
    )
    assert active_libraries.report(CONVOLUTION + active_libraries.HEAD + "{}")["onednn_operations"]
    assert active_libraries.described(found) == (
        "Python 3.11.7, NumPy 2.4.6; OpenBLAS Haswell; NumPy its baseline; XLA with FMA; oneDNN Intel AVX2, "
        "its operations off; threads: OpenBLAS 1, TensorFlow 2"
    )


def test_what_differs_from_the_machines_own_is_told():
    other = report_of(openblas=["Nehalem"], perturbed="7", bits={"NumPy's products": "c", "XLA": "b"})
    assert active_libraries.described(other, report_of()).endswith(
        "products off by an ulp, seed 7; other bits than this machine's own: NumPy's products"
    )
    assert "Python" not in active_libraries.described(other, report_of())
    assert active_libraries.described(report_of(), report_of()).endswith("none of those compared")
    assert "Python 3.12.1" in active_libraries.described(report_of(versions={"Python": "3.12.1"}), report_of())


@pytest.fixture
def scripted(monkeypatch, tmp_path):
    """processors.main with given words, where each combination has in force what `forces` says, and `failing` fail on Nehalem."""

    def run(*words, forces=None, failing=()):
        def probe(python, environment):
            asked = environment.get("OPENBLAS_CORETYPE", "Own")
            return report_of(
                openblas=[(forces or {}).get(asked, asked)], perturbed=environment.get("TEST_PERTURB_PRODUCTS")
            )

        def run_tests(python, environment, words):
            names = list(failing) if environment.get("OPENBLAS_CORETYPE") == "Nehalem" else []
            return Outcome(passed=3, failed=len(names), failing=names, seconds=1.5)

        monkeypatch.setattr(sys, "argv", ["processors.py", *words, "--output", str(tmp_path / "table.md")])
        monkeypatch.setattr(processors, "cpu_flags", lambda: frozenset(HASWELL))
        monkeypatch.setattr(processors, "probe", probe)
        monkeypatch.setattr(processors, "run_tests", run_tests)
        return processors.main(), (tmp_path / "table.md").read_text()

    return run


def test_the_table_has_a_row_for_what_ran_and_a_reason_for_what_did_not(scripted, capsys):
    status, table = scripted(
        "--only",
        "own",
        "nehalem",
        "haswell",
        "zen",
        "skylakex",
        forces={"Zen": "Haswell"},
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
        "- zen: not run: on this machine the same as haswell" in table
        and "- skylakex: not run: this processor lacks avx512" in table
    )
    said = capsys.readouterr().out
    assert (
        "[2/5] nehalem: OPENBLAS_CORETYPE='Nehalem'" in said
        and "FAILED test_a::test_one" in said
        and said.endswith(table)
    )


def test_status_is_0_where_all_pass_and_1_where_the_libraries_do_not_start(scripted, monkeypatch):
    assert scripted("--short")[0] == 0
    monkeypatch.setattr(
        processors, "run_combination", lambda *args: Outcome(failing=["NumPy and TensorFlow do not start: status -4: "])
    )
    assert processors.main() == 1


# ---- the range of versions


def test_every_requirement_has_a_lower_bound_that_pip_can_be_held_to():
    needed, extras = interpreters.declared()
    asked = needed + extras["test"]
    assert len(list(interpreters.oldest(asked))) == len(asked) > 15
    assert all(str(Requirement(line).specifier).startswith("==") for line in interpreters.oldest(asked))


def test_the_oldest_is_the_lower_bound_with_the_marker_of_its_platform():
    assert list(interpreters.oldest(["a[x]>=1.4,<2", 'b>=5.0; sys_platform == "linux"', "c"])) == [
        "a==1.4",
        'b==5.0 ; sys_platform == "linux"',
    ]


def test_an_interpreter_that_does_not_start_is_none(tmp_path, monkeypatch):
    shim = tmp_path / "python9.8"
    shim.write_text("#!/bin/sh\necho not chosen >&2; exit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert interpreters.interpreter("python9.8") is None and interpreters.interpreter(str(shim)) is None
    chosen = tmp_path / "pyenv/versions/9.8.1/bin/python9.8"
    chosen.parent.mkdir(parents=True)
    chosen.symlink_to(sys.executable)
    assert interpreters.interpreter("python9.8") == str(chosen)
    assert interpreters.interpreter(sys.executable) == sys.executable


def test_the_numeric_tests_are_marked_and_the_long_ones_among_them_exist(request):
    conftest = str(jobs.ROOT / "tests" / "conftest.py")
    NUMERIC = next(
        one.NUMERIC for one in request.config.pluginmanager.get_plugins() if getattr(one, "__file__", None) == conftest
    )
    assert all((jobs.ROOT / "tests" / name).is_file() for name in NUMERIC)
    for name in processors.LONG:
        path, _, test = name.partition("::")
        assert path.removeprefix("tests/") in NUMERIC and (not test or f"def {test}(" in (jobs.ROOT / path).read_text())
