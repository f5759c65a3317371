"""Fuzz the loaders: read thousands of damaged and forged policies, checkpoints and config.json files in separate processes.

    python -m benchmarks.robustness.fuzz_loads --inputs 100000 --seed 0

A loader must load a file or refuse it with a one-line UserError. Everything else is a failure, and the file is kept. Failures are: another
exception, a message of several lines, a crash, more than --seconds for one file, and more than --megabytes of memory. So are a write outside
the run directory, a started process and a pickle. Requires Hypothesis; Linux only.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.paths import ROOT

CHUNK = 10_000  # inputs per process, which limits Hypothesis's memory
TOTALS = ("inputs", "loaded", "refused", "failed")


def last_written(directory: Path) -> Path:
    """The file that a killed process was reading: the last that it wrote."""
    candidates = [
        *directory.glob("?.safetensors"),
        *directory.glob("run/checkpoints/*.safetensors"),
        directory / "run" / "config.json",
    ]
    return max((path for path in candidates if path.exists()), key=lambda path: path.stat().st_mtime_ns)


def exit_reason(process: subprocess.Popen, errors: Path) -> str:
    """Why a process ended unexpectedly."""
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        return "took too long" if name == "SIGALRM" else f"killed by {name}"
    lines = errors.read_text(errors="replace").splitlines()
    return f"ended with status {process.returncode}: {lines[-1] if lines else 'no error message'}"


class Progress:
    """Prints speed and remaining time: on a terminal over the last line, otherwise every ten seconds."""

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.started = time.monotonic()
        self.last_print = 0.0

    def update(self, totals: dict[str, int]) -> None:
        """Print the totals if it is time, or at the end."""
        is_terminal = sys.stderr.isatty()
        now = time.monotonic()
        if now - self.last_print < (0.2 if is_terminal else 10) and totals["inputs"] < self.inputs:
            return
        self.last_print = now
        speed = totals["inputs"] / max(now - self.started, 1e-9)
        seconds_left = (self.inputs - totals["inputs"]) / speed if speed else float("nan")
        print(
            f"{totals['inputs']:,} of {self.inputs:,} inputs, {speed:,.0f} per second, {seconds_left:,.0f} s left: "
            f"{totals['loaded']:,} loaded, {totals['refused']:,} refused, {totals['failed']:,} failed",
            file=sys.stderr,
            end="\r" if is_terminal else "\n",
            flush=True,
        )


class Fuzzer:
    """Runs one process after the other until there were enough inputs.

    Attributes:
        totals: {name of `TOTALS`: number}.
        failures: [(description, path of the kept file)].
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.totals = dict.fromkeys(TOTALS, 0)
        self.failures: list[tuple[str, str]] = []
        self.progress = Progress(args.inputs)

    def run(self) -> None:
        """Read all inputs; stops early after --most-failures."""
        while self.totals["inputs"] < self.args.inputs and self.totals["failed"] < self.args.most_failures:
            self._run_process(min(CHUNK, self.args.inputs - self.totals["inputs"]))

    def _run_process(self, count: int) -> None:
        args, before = self.args, dict(self.totals)
        first_seed = args.seed * 10**9 + before["inputs"]
        in_memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # three files are written per input
        with tempfile.TemporaryDirectory(dir=in_memory) as directory:
            errors, work = Path(directory) / "stderr", Path(directory) / "work"
            work.mkdir()
            command = [sys.executable, "-B", "-m", "benchmarks.robustness.fuzz_child"]
            command += map(str, (work, count, first_seed, args.seconds, args.megabytes, args.keep))
            path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
            with errors.open("wb") as stderr:
                process = subprocess.Popen(
                    command,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                    cwd=work,
                    env=os.environ | {"PYTHONPATH": path},
                )
            started = False
            for line in process.stdout:
                found = json.loads(line)
                if "failure" in found:
                    self.failures.append((found["failure"], found["file"]))
                self.totals |= {name: before[name] + found[name] for name in TOTALS}
                started = True
                self.progress.update(self.totals)
            process.wait()
            if process.returncode:
                reason = exit_reason(process, errors)
                if not started:
                    raise SystemExit(f"the fuzzed process does not start: {reason}")
                last = last_written(work)
                kept = Path(args.keep) / f"died-{self.totals['inputs']}-{last.name}"
                shutil.copy(last, kept)
                self.failures.append((reason, str(kept)))
                self.totals["inputs"] += 1
                self.totals["failed"] += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20, help="time limit of one input [20]")
    parser.add_argument(
        "--megabytes", type=int, default=1024, help="memory limit beyond the memory before the first input [1024]"
    )
    parser.add_argument("--most-failures", type=int, default=50, help="stop after this many failures [50]")
    parser.add_argument("--keep", default="fuzz-failures", help="directory for files that failed [fuzz-failures]")
    args = parser.parse_args()
    args.keep = str(Path(args.keep).resolve())
    Path(args.keep).mkdir(parents=True, exist_ok=True)
    fuzzer = Fuzzer(args)
    fuzzer.run()
    for description, file in fuzzer.failures:
        print(f"FAILED {file}: {description}")
    if not fuzzer.failures:
        Path(args.keep).rmdir()
    print(json.dumps(fuzzer.totals | {"seconds": round(time.monotonic() - fuzzer.progress.started, 1)}))
    return 1 if fuzzer.failures else 0


if __name__ == "__main__":
    sys.exit(main())
