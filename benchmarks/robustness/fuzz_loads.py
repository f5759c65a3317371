"""Damaged and forged policies, checkpoints and config.json files by the thousand, read in processes of their own, which must refuse or load each.

    python -m benchmarks.robustness.fuzz_loads --inputs 100000 --seed 0

Whatever else happens to a loader is a failure, and the file that did it is kept: an exception that is no UserError, more than one line, a crash, more than
--seconds for one file, more than --megabytes of memory, a write outside the run's folder, a process started, a pickle. Needs Hypothesis; Linux only.
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

CHUNK = 10_000  # inputs of one process, so that what Hypothesis remembers stays small
TOTALS = ("inputs", "loaded", "refused", "failed")


def newest(folder):
    """The file that a process had in hand when it died: the last that was written."""
    paths = [
        *folder.glob("?.safetensors"),
        *folder.glob("run/checkpoints/*.safetensors"),
        folder / "run" / "config.json",
    ]
    return max((path for path in paths if path.exists()), key=lambda path: path.stat().st_mtime_ns, default=None)


def reason(process, errors):
    """Why a process ended that was not asked to."""
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        return "took too long" if name == "SIGALRM" else f"died of {name}"
    lines = errors.read_text(errors="replace").splitlines()
    return f"ended with status {process.returncode}: {lines[-1] if lines else 'nothing said'}"


class Progress:
    """A line on how fast it goes and how long it will take, over itself on a terminal, else every ten seconds.

    Args:
        inputs: in all.
    """

    def __init__(self, inputs):
        self.inputs, self.started, self.said = inputs, time.monotonic(), 0.0

    def say(self, totals):
        """Show where it stands."""
        now, every = time.monotonic(), 0.2 if sys.stderr.isatty() else 10
        if now - self.said < every and totals["inputs"] < self.inputs:
            return
        self.said, speed = now, totals["inputs"] / max(now - self.started, 1e-9)
        left = (self.inputs - totals["inputs"]) / speed if speed else float("nan")
        print(
            f"{totals['inputs']:,} of {self.inputs:,} inputs, {speed:,.0f} a second, {left:,.0f} s left: {totals['loaded']:,} loaded, "
            f"{totals['refused']:,} refused, {totals['failed']:,} failed",
            file=sys.stderr,
            end="\r" if sys.stderr.isatty() else "\n",
            flush=True,
        )


def fuzz(args, totals, failures, progress):
    """One process after the other, until there were as many inputs as asked for."""
    start = args.seed * 10**9
    while totals["inputs"] < args.inputs and totals["failed"] < args.most_failures:
        count = min(CHUNK, args.inputs - totals["inputs"])
        with tempfile.TemporaryDirectory(
            dir="/dev/shm" if Path("/dev/shm").is_dir() else None
        ) as folder:  # three files are written for every input
            errors, before = Path(folder) / "stderr", dict(totals)
            work = Path(folder) / "work"
            work.mkdir()
            words = [
                sys.executable,
                "-B",
                "-m",
                "benchmarks.robustness.fuzz_child",
                work,
                count,
                start + before["inputs"],
                args.seconds,
                args.megabytes,
                args.keep,
            ]
            with errors.open("wb") as stderr:
                process = subprocess.Popen(
                    list(map(str, words)),
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                    cwd=work,
                    env=os.environ
                    | {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))},
                )
            started = False
            for line in process.stdout:
                said = json.loads(line)
                if "failure" in said:
                    failures.append((said["failure"], said["file"]))
                totals |= {name: before[name] + said[name] for name in TOTALS}
                started = True
                progress.say(totals)
            process.wait()
            if process.returncode:
                if not started:
                    raise SystemExit(f"the process that is fuzzed does not start: {reason(process, errors)}")
                kept = Path(args.keep) / f"died-{totals['inputs']}-{newest(work).name}"
                shutil.copy(newest(work), kept)
                failures.append((reason(process, errors), str(kept)))
                totals["inputs"] += 1
                totals["failed"] += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20, help="for one input [20]")
    parser.add_argument(
        "--megabytes", type=int, default=1024, help="beyond what the process had before the first input [1024]"
    )
    parser.add_argument("--most-failures", type=int, default=50, help="after which it gives up [50]")
    parser.add_argument("--keep", default="fuzz-failures", help="folder for the files that failed [fuzz-failures]")
    args = parser.parse_args()
    args.keep = str(Path(args.keep).resolve())
    Path(args.keep).mkdir(parents=True, exist_ok=True)
    totals, failures, progress = dict.fromkeys(TOTALS, 0), [], Progress(args.inputs)
    fuzz(args, totals, failures, progress)
    for what, file in failures:
        print(f"FAILED {file}: {what}")
    if not failures:
        Path(args.keep).rmdir()
    print(json.dumps(totals | {"seconds": round(time.monotonic() - progress.started, 1)}))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
