"""Resident memory of every rank during a training, its growth after the first tenth, and the growth of the run's files.

    python -m benchmarks.throughput.memory --ranks 8 --num-timesteps 1e6
    python -m benchmarks.throughput.memory --env CartPole-v1 --num-timesteps 1e7 --num-envs 64 --timesteps-per-actorbatch 16384
                                                                 a long run of a fast task

Linux only: reads /proc.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.paths import ROOT
from benchmarks.throughput.measurements import mpirun

POLL_INTERVAL = 1.0  # seconds


def rank_processes(run_dir: Path) -> dict[str, int]:
    """{process id: rank} of the processes that train into `run_dir`."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            if str(run_dir).encode() in arguments and b"run.py" in arguments[1]:
                variables = (entry / "environ").read_bytes().split(b"\0")
                environ = dict(variable.split(b"=", 1) for variable in variables if b"=" in variable)
                found[entry.name] = int(environ.get(b"PMI_RANK", environ.get(b"OMPI_COMM_WORLD_RANK", b"0")))
        except (OSError, IndexError):
            continue  # the process has ended
    return found


def resident_memory(pid: str) -> tuple[float, float]:
    """(resident memory, its peak) of a process in MB."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    resident, peak = (int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return resident, peak


def total_size(paths: Iterable[Path]) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in paths)


def file_statistics(run_dir: Path, rows: int) -> dict[str, float]:
    """Contents of a run directory after `rows` iterations.

    Returns:
        number and largest size of checkpoints, number of other files, bytes of logs per row and of monitor files per
        episode.
    """
    monitors, checkpoints = list(run_dir.glob("*.monitor.csv")), list(run_dir.glob("checkpoints/*.safetensors"))
    episodes = sum(path.read_bytes().count(b"\n") - 2 for path in monitors)
    return {
        "checkpoints": len(checkpoints),
        "bytes_per_checkpoint": max((path.stat().st_size for path in checkpoints), default=0),
        "others": sum(path.is_file() for path in run_dir.rglob("*")) - len(checkpoints),
        "bytes_per_row": total_size([*run_dir.glob("progress.*"), *run_dir.glob("tb/*")]) / rows,
        "bytes_per_episode": total_size(monitors) / max(episodes, 1),
    }


@dataclass
class MemoryMonitor:
    """Samples the memory and the files of a run.

    Attributes:
        run_dir: of the run.
        num_timesteps: of the training.
        peak: {rank: MB}.
        growth: {rank: MB}, largest increase after the first tenth.
        files: {"at a tenth" or "at the end": `file_statistics`}.
    """

    run_dir: Path
    num_timesteps: float
    peak: dict[int, float] = field(default_factory=dict)
    growth: dict[int, float] = field(default_factory=dict)
    files: dict[str, dict[str, float]] = field(default_factory=dict)
    _after_tenth: dict[int, float] = field(default_factory=dict)
    _num_rows: int = 0

    def sample(self) -> None:
        """Read the progress, the memory of all ranks and, from the first tenth on, the files."""
        progress = self.run_dir / "progress.csv"
        lines = progress.read_text().splitlines() if progress.exists() else []
        self._num_rows = len(lines) - 1
        done = 0.0
        if self._num_rows > 0:
            column = lines[0].split(",").index("TimestepsSoFar")
            done = float(lines[-1].split(",")[column]) / self.num_timesteps
        for pid, rank in rank_processes(self.run_dir).items():
            try:
                resident, self.peak[rank] = resident_memory(pid)
            except (OSError, KeyError):
                continue  # the process has ended
            if done >= 0.1:
                if "at a tenth" not in self.files:
                    self.files["at a tenth"] = file_statistics(self.run_dir, self._num_rows)
                increase = resident - self._after_tenth.setdefault(rank, resident)
                self.growth[rank] = max(self.growth.get(rank, 0.0), increase)

    def finish(self) -> None:
        """Record the files at the end of the run."""
        self.files["at the end"] = file_statistics(self.run_dir, max(self._num_rows, 1))

    def lines(self) -> list[str]:
        """Results as text."""
        nan = float("nan")
        return [
            *(
                f"rank {rank}: peak {self.peak[rank]:.0f}, growth {self.growth.get(rank, nan):.1f} after the first tenth"
                for rank in sorted(self.peak)
            ),
            *(
                f"{when}: {found['checkpoints']} checkpoints of {found['bytes_per_checkpoint']:,} bytes, "
                f"{found['others']} other files, {found['bytes_per_row']:.1f} bytes of logs per row, "
                f"{found['bytes_per_episode']:.1f} bytes of monitor files per episode"
                for when, found in self.files.items()
            ),
        ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Hopper-v4")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--num-timesteps", type=float, default=1e6)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as directory:
        run_dir = Path(directory) / "run"
        command = [mpirun(), "-n", str(args.ranks)] if args.ranks > 1 else []
        command += [sys.executable, str(ROOT / "run.py"), "--env", args.env]
        command += ["--num-timesteps", str(args.num_timesteps), "--run-dir", str(run_dir), *rest]
        process = subprocess.Popen(command)
        monitor = MemoryMonitor(run_dir, args.num_timesteps)
        while process.poll() is None:
            time.sleep(POLL_INTERVAL)
            monitor.sample()
        monitor.finish()
    load = os.getloadavg()[0]
    print(f"{args.env}, {args.ranks} ranks, {args.num_timesteps:g} steps, load {load:.1f}: resident memory in MB")
    print("\n".join(monitor.lines()))
    if args.json:
        args.json.write_text(json.dumps({"peak": monitor.peak, "grown": monitor.growth, "files": monitor.files}) + "\n")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
