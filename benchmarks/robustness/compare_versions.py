"""Compare two versions of this project bit by bit: equal command lines must give equal parameters.

    python -m benchmarks.robustness.compare_versions OLD NEW     run every case in both versions
    python -m benchmarks.robustness.compare_versions OLD         run OLD only, for later comparisons with the same --out

OLD and NEW are checkouts or git revisions. Both run in this Python environment, with the same number of threads, and
only through `run.py`. The cases are in `version_cases.py`. Besides trainings, they resume a run that OLD started, and
load policies and checkpoints that OLD wrote.

A finished case is kept in --out under its commit. It is run again only if its command line or the machine has changed,
or if the checkout has uncommitted changes. Each comparison is also a line of `comparisons.jsonl` in --out. The exit
status is 1 if a case differs or fails.
"""

import argparse
import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # for `python benchmarks/robustness/compare_versions.py` from any folder
from benchmarks.robustness.version_cases import CASES, Case  # noqa: E402

THREADS = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
# prefixes of environment variables that may change a result
NUMERIC_VARIABLES = ("XLA_", "TF_XLA_", "TF_ENABLE_", "TF_NUM_", "ONEDNN_", "NPY_", "OPENBLAS_", "OMP_", "MKL_")
PACKAGES = ("numpy", "tensorflow", "tensorflow-probability", "gymnasium", "mujoco", "ale-py", "mpi4py", "mpich")
TIMEOUT = 7200  # seconds for one command


class CaseError(Exception):
    """A command of a case failed."""


@dataclass(frozen=True)
class Version:
    """A checkout of this project: its folder, and its commit, with "-modified" if there are uncommitted changes."""

    tree: Path
    name: str


def git(tree: Path, *words: str) -> str:
    """The output of a git command in a checkout."""
    return subprocess.run(["git", "-C", str(tree), *words], check=True, capture_output=True, text=True).stdout.strip()


def open_version(text: str, stack: contextlib.ExitStack) -> Version:
    """The version that a folder or a git revision names. A revision gets a temporary worktree, which `stack` removes.

    Raises:
        SystemExit: if it is neither, or if Python imports the packages of another checkout in its place.
    """
    try:
        if Path(text).is_dir():
            tree = Path(git(Path(text), "rev-parse", "--show-toplevel"))
            name = git(tree, "rev-parse", "HEAD")[:16] + ("-modified" if git(tree, "status", "--porcelain") else "")
        else:
            name = git(ROOT, "rev-parse", "--verify", f"{text}^{{commit}}")[:16]
            tree = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compare-"))).resolve() / name
            git(ROOT, "worktree", "add", "--detach", str(tree), name)
            stack.callback(git, ROOT, "worktree", "remove", "--force", str(tree))
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{text} is neither a checkout nor a revision of {ROOT}: {error.stderr.strip()}") from error
    code = f"import baselines_ppo, common; print(baselines_ppo.__file__, common.__file__, sep={os.linesep!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tree.parent, env=environment_of(tree), capture_output=True, text=True
    )
    if done.returncode or not all(Path(path).resolve().is_relative_to(tree) for path in done.stdout.splitlines()):
        raise SystemExit(f"{tree} cannot be imported, or is hidden by another checkout: {done.stdout} {done.stderr}")
    return Version(tree, name)


def environment_of(tree: Path) -> dict[str, str]:
    """The environment variables of every command: modules of `tree`, one thread for each library, and no GPU."""
    own = {"PYTHONPATH": str(tree), "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return os.environ | dict.fromkeys(THREADS, "1") | own


def describe_machine() -> dict:
    """Everything else that a result depends on: the processor, and the versions and variables of numeric libraries."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = {name.strip(): x.strip() for name, x in (line.split(":", 1) for line in reversed(lines) if ":" in line)}
    packages = {one.name: one.version for one in importlib.metadata.distributions() if one.name in PACKAGES}
    variables = {name: x for name, x in sorted(environment_of(ROOT).items()) if name.startswith(NUMERIC_VARIABLES)}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cpu_flags = hashlib.sha256(cpu.get("flags", "").encode()).hexdigest()[:16]
    found = {"cpu": cpu.get("model name", platform.processor()), "cpu_flags": cpu_flags, "cores": cores}
    return found | {"python": platform.python_version(), "packages": packages, "variables": variables}


def run_command(version: Version, ranks: int, words: Iterable[str], folder: Path, stop_file: Path | None = None) -> str:
    """Run `run.py WORDS` of a version in a folder; returns what it printed.

    Args:
        stop_file: stop the run by SIGTERM once this file exists.

    Raises:
        CaseError: if the command fails, takes too long, or ends before it could be stopped.
    """
    mpirun = Path(sys.executable).with_name("mpirun")
    launcher = [str(mpirun) if mpirun.exists() else "mpirun", "-n", str(ranks)] if ranks > 1 else []
    deadline = time.monotonic() + TIMEOUT
    with (folder / "stdout.txt").open("w") as out, (folder / "stderr.txt").open("w") as err:
        process = subprocess.Popen(
            [*launcher, sys.executable, str(version.tree / "run.py"), *words],
            cwd=folder,
            env=environment_of(version.tree),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
        try:
            while process.poll() is None and time.monotonic() < deadline and not (stop_file and stop_file.exists()):
                time.sleep(0.02)
            if process.poll() is None:
                process.terminate()
            process.wait(60 if stop_file is None else TIMEOUT)
        finally:
            process.kill()
    stopped, printed = bool(process.returncode), (folder / "stderr.txt").read_text(errors="replace").strip()
    if stopped != bool(stop_file):
        problem = "ended before it could be stopped" if stop_file else f"status {process.returncode}"
        raise CaseError(f"{problem}: {printed.splitlines()[-1] if printed else 'no message'}; see {folder}")
    return (folder / "stdout.txt").read_text()


def first_difference(old: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> str:
    """The first tensor, by name, whose type, shape or bytes differ, and how; empty if all are equal."""
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new:
            return f"{name}: only in {'OLD' if name in old else 'NEW'}"
        a, b = old[name], new[name]
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            return f"{name}: {a.dtype} {list(a.shape)} in OLD, {b.dtype} {list(b.shape)} in NEW"
        bits = [np.ascontiguousarray(x).reshape(-1, 1).view(np.uint8) for x in (a, b)]
        if count := int((bits[0] != bits[1]).any(axis=1).sum()):
            largest = np.abs(a.astype(np.float64) - b.astype(np.float64)).max()
            return f"{name}: {count} of {a.size} values differ, by at most {largest:.3g}"
    return ""


def digest(tensors: dict[str, np.ndarray]) -> str:
    """SHA-256 of the names, types, shapes and bytes of tensors."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(f"{name} {tensors[name].dtype} {tensors[name].shape};".encode())
        found.update(np.ascontiguousarray(tensors[name]).tobytes())
    return found.hexdigest()


@dataclass(frozen=True)
class Comparison:
    """Two versions, and the folder of their results.

    Attributes:
        out: the folder.
        machine: from `describe_machine`.
        old: the version that starts runs and writes policies.
        new: the version that is compared with it; None if OLD runs alone.
    """

    out: Path
    machine: dict
    old: Version
    new: Version | None = None

    def folder(self, case: Case, new: bool = False) -> Path:
        """The folder of a case of OLD or NEW. Results of NEW also depend on OLD, whose files they read."""
        return self.out / (f"{self.new.name}-after-{self.old.name}" if new and self.new else self.old.name) / case.name

    def checkpoint(self, case: Case) -> Path:
        """The scheduled checkpoint after which the run of OLD was stopped."""
        return self.folder(case) / "stopped" / "checkpoints" / f"ckpt-{case.stop_at:08d}.safetensors"

    def result(self, case: Case, new: bool = False) -> dict:
        """The result of a case of OLD or NEW, kept or run now: its case, machine, sha256 and seconds; or an `error`."""
        folder, version = self.folder(case, new), self.new if new and self.new else self.old
        key, path = {"case": asdict(case), "machine": self.machine}, folder / "result.json"
        if path.exists() and "modified" not in folder.parent.name:
            kept = json.loads(path.read_text())
            if key == {name: kept[name] for name in key}:
                return kept
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        print(f"{version.name}: {case.name} ...", flush=True)
        began = time.monotonic()
        try:
            self.run(case, version, folder, new)
        except (CaseError, OSError, subprocess.TimeoutExpired) as error:
            return key | {"error": f"{type(error).__name__}: {error}"}
        sha256, seconds = digest(load_file(folder / "outcome.safetensors")), round(time.monotonic() - began, 1)
        found = key | {"sha256": sha256, "seconds": seconds}
        path.write_text(json.dumps(found))
        return found

    def run(self, case: Case, version: Version, folder: Path, new: bool) -> None:
        """Run a case, and write `outcome.safetensors`: the policy, or the returns and lengths of played episodes."""
        words, outcome = case.words.split(), folder / "outcome.safetensors"
        if case.start:
            start = CASES[case.start]
            policy, checkpoint = self.folder(start) / "outcome.safetensors", self.checkpoint(start)
            words = [word.format(policy=policy, checkpoint=checkpoint) for word in words]
        if words[0] == "--play":
            found = json.loads(run_command(version, case.ranks, [*words, "--json"], folder))
            save_file({name: np.array(found[name], np.float64) for name in ("returns", "lengths")}, outcome)
            return
        how = ["--quiet", "true", "--report", "false", "--run-dir"]
        if case.stop_at and new:
            shutil.copytree(self.folder(case) / "stopped", folder / "run")
            words = ["--resume", "exact"]
        run_command(version, case.ranks, [*words, *how, str(folder / "run")], folder)
        shutil.copyfile(folder / "run" / "policy" / "policy.safetensors", outcome)
        shutil.rmtree(folder / "run")
        if case.stop_at and not new:
            run_command(version, case.ranks, [*words, *how, str(folder / "stopped")], folder, self.checkpoint(case))

    def compare(self, case: Case, old: dict) -> dict:
        """Run or find a case of NEW, and compare it with the result of OLD; returns a line for `comparisons.jsonl`."""
        new = self.result(case, new=True)
        difference = old.get("error") or new.get("error")
        if difference is None:
            outcomes = (load_file(self.folder(case, one) / "outcome.safetensors") for one in (False, True))
            difference = first_difference(*outcomes)
        line = {"case": case.name, "ranks": case.ranks, "equal": not difference, "difference": difference}
        line |= {"old": self.old.name, "old_sha256": old.get("sha256"), "old_seconds": old.get("seconds")}
        line |= {"new": self.new.name, "new_sha256": new.get("sha256"), "new_seconds": new.get("seconds")}
        return line | {"machine": self.machine}


def run_all(comparison: Comparison, cases: list[Case], jobs: int) -> bool:
    """Run cases, `jobs` at once, and print a line for each; returns whether all are equal (without NEW: finished)."""
    starts = list(dict.fromkeys(CASES[case.start] for case in cases if case.start))
    old, all_equal = {}, True
    with ThreadPoolExecutor(jobs) as pool:
        for stage in (starts, [case for case in cases if case not in starts]):
            old |= zip(stage, pool.map(comparison.result, stage))
        if comparison.new is None:
            for case in cases:
                print(f"{case.name:<22} {old[case].get('error') or old[case]['sha256']}")
            return not any("error" in old[case] for case in cases)
        for line in pool.map(comparison.compare, cases, [old[case] for case in cases]):
            all_equal &= line["equal"]
            print(f"{line['case']:<22} {line['ranks']} rank(s)  {line['difference'] or 'equal'}", flush=True)
            with (comparison.out / "comparisons.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
    return all_equal


def main(words: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="checkout or git revision")
    parser.add_argument("new", nargs="?", help="checkout or git revision; default: run OLD only")
    parser.add_argument(
        "--only", nargs="+", choices=CASES, default=list(CASES), metavar="CASE", help=f"cases: {', '.join(CASES)} [all]"
    )
    parser.add_argument("--jobs", type=int, default=1, help="cases at once [1]")
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), help="folder of the results [runs/compare]")
    args = parser.parse_args(words)
    with contextlib.ExitStack() as stack:
        old, new = (open_version(text, stack) if text else None for text in (args.old, args.new))
        comparison = Comparison(args.out.resolve(), describe_machine(), old, new)
        return 0 if run_all(comparison, [CASES[name] for name in dict.fromkeys(args.only)], args.jobs) else 1


if __name__ == "__main__":
    sys.exit(main())
