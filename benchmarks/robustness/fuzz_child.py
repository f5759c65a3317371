"""The fuzzed process: reads damaged files one after the other, as the commands do, and reports the results.

Started by fuzz_loads.py. Prints JSON lines with the numbers of inputs, loaded files, refused files and failures.
"""

import gc
import json
import resource
import signal
import sys
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from benchmarks.robustness.fuzz_loaders import Loaders
from benchmarks.robustness.fuzz_mutations import PLANS, damage

REPORT_INTERVAL = 100  # inputs


def run(directory: Path, count: int, first_seed: int, seconds: float, megabytes: int, failures: Path) -> None:
    """Read `count` damaged files.

    Args:
        directory: of this process.
        count: number of files.
        first_seed: of Hypothesis.
        seconds: time limit of one file.
        megabytes: memory limit beyond the memory before the first file.
        failures: directory for files that caused a failure.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    loaders = Loaders(directory)
    gc.freeze()  # excludes TensorFlow's million objects from every collection
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20,) * 2)
    totals = {"inputs": 0, "loaded": 0, "refused": 0, "failed": 0}
    print(json.dumps(totals), flush=True)

    def try_plan(plan: bytes) -> None:
        if totals["inputs"] >= count:
            return
        index, data = damage(loaders.files, plan)
        verdict = loaders.try_file(index, data, seconds)
        totals["inputs"] += 1
        if verdict in totals:
            totals[verdict] += 1
        else:
            totals["failed"] += 1
            path = failures / f"{first_seed}-{totals['inputs']}-{loaders.paths[index].name}"
            path.write_bytes(data)
            print(json.dumps(totals | {"failure": verdict, "file": str(path)}), flush=True)
        if totals["inputs"] % REPORT_INTERVAL == 0:
            print(json.dumps(totals), flush=True)

    while totals["inputs"] < count:
        remaining = settings(
            max_examples=count - totals["inputs"],
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        seed(first_seed + totals["inputs"])(remaining(given(PLANS)(try_plan)))()
    print(json.dumps(totals), flush=True)


if __name__ == "__main__":
    work, count, first_seed, seconds, megabytes, failures = sys.argv[1:]
    run(
        Path(work).resolve(),
        int(count),
        int(first_seed),
        float(seconds),
        int(megabytes),
        Path(failures).resolve(),
    )
