"""Search for rare crashes of a rank: repeats the four-rank job of `tests/baselines_ppo/ranks/test_ranks.py` under stress.

    python -m benchmarks.robustness.rank_crashes --runs 100 --jobs 2 --out crashes

The jobs use more processes than cores, in conditions that reveal use of freed memory and race conditions. Each run has a directory in
`--out` while it lasts. The directory of a failed run is kept, with its output (including Python's stacks), its core dump and, if gdb is
installed, the stacks of all threads. `log.jsonl` has one line per run; a later call appends to it. Stop with Ctrl-C, or, after the
current runs, by a file `stop` in `--out`. Linux only.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.markdown import markdown_table
from benchmarks.paths import ROOT
from benchmarks.throughput.measurements import mpirun

SCRIPT = ROOT / "tests" / "baselines_ppo" / "ranks" / "rank_checks.py"
HEAP_CHECKS = "libc_malloc_debug.so.0"  # of glibc 2.34 and later
# sitecustomize.py of a condition: frequent thread switches and garbage collections
FREQUENT_SWITCHES = "import gc, sys\nsys.setswitchinterval(1e-5)\ngc.set_threshold(50, 3, 3)\n"


class Condition(NamedTuple):
    """Changes to the conditions of the test.

    Attributes:
        variables: of the environment.
        cores: number of usable cores; None: all.
        sitecustomize: Python code that runs first.
    """

    variables: dict[str, str] = {}
    cores: int | None = None
    sitecustomize: str = ""


# the names are those of log.jsonl
CONDITIONS = {
    "as tested": Condition(),
    "freed memory overwritten": Condition({"MALLOC_PERTURB_": "165"}),
    "one core": Condition(cores=1),
    "threads switched and garbage collected often": Condition(sitecustomize=FREQUENT_SWITCHES),
    "heap checked": Condition({"MALLOC_CHECK_": "3", "LD_PRELOAD": HEAP_CHECKS}),
    "one core, freed memory overwritten": Condition({"MALLOC_PERTURB_": "165"}, cores=1),
}


def run_job(number: int, name: str, ranks: int, out: Path) -> dict[str, Any]:
    """Run one job; returns its line of the log."""
    condition = CONDITIONS[name]
    directory = out / f"run-{number:04d}"
    (directory / "work").mkdir(parents=True)
    (directory / "sitecustomize.py").write_text(condition.sitecustomize)
    defaults = {"TF_CPP_MIN_LOG_LEVEL": "3", "OPENBLAS_NUM_THREADS": "1"}
    environ = defaults | os.environ | condition.variables | {"PYTHONPATH": f"{directory}:{ROOT}"}

    def set_limits() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
        if condition.cores:
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: condition.cores])

    began = time.time()
    with (directory / "said").open("wb") as output:
        status = subprocess.run(
            [mpirun(), "-n", str(ranks), sys.executable, SCRIPT, directory / "work", "--short"],
            cwd=directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=set_limits,
        ).returncode
    line = {
        "run": number,
        "surroundings": name,
        "status": status,
        "seconds": round(time.time() - began),
        "ended": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    if status == 0:
        shutil.rmtree(directory)
        return line
    dumps = [path for path in directory.rglob("core*") if path.is_file()]
    for dump in dumps if shutil.which("gdb") else ():
        gdb = ["gdb", "-batch", "-ex", "thread apply all backtrace", sys.executable, dump]
        with dump.with_name(f"{dump.name}.stacks").open("wb") as stacks:
            subprocess.run(gdb, stdout=stacks, stderr=subprocess.STDOUT)
    return line | {"cores": [str(dump) for dump in dumps], "said": str(directory / "said")}


def summary(lines: Sequence[dict[str, Any]]) -> str:
    """A Markdown table with one row per condition."""
    rows = []
    for name in CONDITIONS:
        runs = [line for line in lines if line["surroundings"] == name]
        if runs:
            failed = sum(line["status"] != 0 for line in runs)
            median = statistics.median(line["seconds"] for line in runs)
            rows.append((name, str(len(runs)), str(failed), f"{median:.0f}"))
    return markdown_table(("condition", "runs", "failed", "seconds (median)"), rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2, help="runs at once [2]")
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("crashes"))
    args = parser.parse_args()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    log = out / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    names, first = [*CONDITIONS], max((line["run"] for line in lines), default=-1) + 1
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    print(f"{len(lines)} earlier runs; core dumps are written to {pattern!r}", flush=True)

    def run_one(number: int) -> None:
        if (out / "stop").exists():
            return
        shutil.rmtree(out / f"run-{number:04d}", ignore_errors=True)  # left by an interrupted run
        line = run_job(number, names[number % len(names)], args.ranks, out)
        lines.append(line)
        with log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
        if line["status"]:
            print(Path(line["said"]).read_text(errors="replace")[-20_000:], flush=True)

    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(run_one, range(first, first + args.runs)))
    print(summary(lines))
    return int(any(line["status"] for line in lines))


if __name__ == "__main__":
    sys.exit(main())
