"""Does a rank ever die? The job of four ranks behind `tests/baselines_ppo/test_ranks.py`, again and again, with more processes than cores, in surroundings
that bring out what reads freed memory or depends on who comes first.

    python -m benchmarks.robustness.rank_crashes --runs 100 --jobs 2 --out crashes

Each run has a folder in `--out` while it lasts; that of one that did not end well stays, with what it said (Python's stacks among it), its core and, where
gdb is installed, the core's stacks of all threads. `log.jsonl` has one line a run, and is gone on with. Ctrl-C ends it; so does a file `stop` in `--out`, after
the runs under way. Linux only.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.paths import ROOT

SCRIPT = ROOT / "tests" / "baselines_ppo" / "rank_checks.py"
HEAP_CHECKS = "libc_malloc_debug.so.0"  # glibc's, of 2.34 and later
SWITCHING = "import gc, sys\nsys.setswitchinterval(1e-5)\ngc.set_threshold(50, 3, 3)\n"  # what Python runs first, from a sitecustomize.py
# what differs from the test's surroundings: environment variables; cores to run on, all if None
SURROUNDINGS = {
    "as tested": ({}, None),
    "freed memory overwritten": ({"MALLOC_PERTURB_": "165"}, None),
    "one core": ({}, 1),
    "threads switched and garbage collected often": ({"PYTHONPATH": "sitecustomize"}, None),
    "heap checked": ({"MALLOC_CHECK_": "3", "LD_PRELOAD": HEAP_CHECKS}, None),
    "one core, freed memory overwritten": ({"MALLOC_PERTURB_": "165"}, 1),
}


def run(number, name, ranks, out):
    """One job; returns its line of the log."""
    variables, cores = SURROUNDINGS[name]
    folder = out / f"run-{number:04d}"
    (folder / "work").mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(SWITCHING if "PYTHONPATH" in variables else "")
    environ = (
        {"TF_CPP_MIN_LOG_LEVEL": "3", "OPENBLAS_NUM_THREADS": "1"}
        | os.environ
        | variables
        | {"PYTHONPATH": f"{folder}:{ROOT}"}
    )
    beside = Path(sys.executable).with_name("mpirun")

    def in_the_child():
        resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
        if cores:
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])

    began = time.time()
    with (folder / "said").open("wb") as said:
        status = subprocess.run(
            [
                beside if beside.exists() else "mpirun",
                "-n",
                str(ranks),
                sys.executable,
                SCRIPT,
                folder / "work",
                "--short",
            ],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            preexec_fn=in_the_child,
        ).returncode
    found = {
        "run": number,
        "surroundings": name,
        "status": status,
        "seconds": round(time.time() - began),
        "ended": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    if status == 0:
        shutil.rmtree(folder)
        return found
    cores = [path for path in folder.rglob("core*") if path.is_file()]
    for core in cores if shutil.which("gdb") else ():
        with core.with_name(f"{core.name}.stacks").open("wb") as stacks:
            subprocess.run(
                ["gdb", "-batch", "-ex", "thread apply all backtrace", sys.executable, core],
                stdout=stacks,
                stderr=subprocess.STDOUT,
            )
    return found | {"cores": [str(core) for core in cores], "said": str(folder / "said")}


def table(lines):
    """What became of the runs, a line for each of the surroundings."""
    rows = ["| surroundings | runs | did not end well | seconds (median) |", "| --- | --: | --: | --: |"]
    for name in [name for name in SURROUNDINGS if any(line["surroundings"] == name for line in lines)]:
        own = [line for line in lines if line["surroundings"] == name]
        rows.append(
            f"| {name} | {len(own)} | {sum(line['status'] != 0 for line in own)} | {statistics.median(line['seconds'] for line in own):.0f} |"
        )
    return "\n".join(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2, help="at once")
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("crashes"))
    args = parser.parse_args()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    log = out / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    names, first = [*SURROUNDINGS], max((line["run"] for line in lines), default=-1) + 1
    print(
        f"{len(lines)} runs before; cores go where {Path('/proc/sys/kernel/core_pattern').read_text().strip()!r} says",
        flush=True,
    )

    def one(number):
        if (out / "stop").exists():
            return
        shutil.rmtree(out / f"run-{number:04d}", ignore_errors=True)  # of a run that was interrupted
        line = run(number, names[number % len(names)], args.ranks, out)
        lines.append(line)
        with log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
        if line["status"]:
            print(Path(line["said"]).read_text(errors="replace")[-20_000:], flush=True)

    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(one, range(first, first + args.runs)))
    print(table(lines))
    return int(any(line["status"] for line in lines))


if __name__ == "__main__":
    sys.exit(main())
