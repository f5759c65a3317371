"""Resident memory of every rank while it trains: its peak, and how much it grows after the first tenth of the run; and what its files grow by.

    python -m benchmarks.throughput.memory --ranks 8 --num-timesteps 1e6
    python -m benchmarks.throughput.memory --env CartPole-v1 --num-timesteps 1e7 --num-envs 64 --timesteps-per-actorbatch 16384   a long run of a cheap task

Linux only: it reads /proc.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.paths import ROOT


def ranks_of(run_dir):
    """{process id: rank} of the processes that train into `run_dir`."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if str(run_dir).encode() in words and b"run.py" in words[1]:
                environ = dict(
                    word.split(b"=", 1) for word in (entry / "environ").read_bytes().split(b"\0") if b"=" in word
                )
                found[entry.name] = int(environ.get(b"PMI_RANK", environ.get(b"OMPI_COMM_WORLD_RANK", b"0")))
        except (OSError, IndexError):
            continue  # it has ended meanwhile
    return found


def resident(pid):
    """(resident now, its peak so far) in MB."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return tuple(int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))


def size(paths):
    return sum(path.stat().st_size for path in paths)


def files_of(run_dir, rows):
    """What a run's folder holds after `rows` iterations: its checkpoints and their largest one's bytes, other files, bytes of logs by row, of monitor
    files by episode."""
    monitors, checkpoints = list(run_dir.glob("*.monitor.csv")), list(run_dir.glob("checkpoints/*.safetensors"))
    episodes = sum(path.read_bytes().count(b"\n") - 2 for path in monitors)
    return {
        "checkpoints": len(checkpoints),
        "bytes_a_checkpoint": max((path.stat().st_size for path in checkpoints), default=0),
        "others": sum(path.is_file() for path in run_dir.rglob("*")) - len(checkpoints),
        "bytes_a_row": size([*run_dir.glob("progress.*"), *run_dir.glob("tb/*")]) / rows,
        "bytes_an_episode": size(monitors) / max(episodes, 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Hopper-v4")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--num-timesteps", type=float, default=1e6)
    parser.add_argument("--json", type=Path, help="write what was found here, too")
    args, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        launcher = [str(Path(sys.executable).with_name("mpirun")), "-n", str(args.ranks)] if args.ranks > 1 else []
        words = [
            sys.executable,
            str(ROOT / "run.py"),
            "--env",
            args.env,
            "--num-timesteps",
            str(args.num_timesteps),
            "--run-dir",
            str(run_dir),
            *rest,
        ]
        process = subprocess.Popen([*launcher, *words])
        peak, after_tenth, growth, files = {}, {}, {}, {}
        while process.poll() is None:
            time.sleep(1.0)
            progress = run_dir / "progress.csv"
            rows = progress.read_text().splitlines() if progress.exists() else []
            done = (
                float(rows[-1].split(",")[rows[0].split(",").index("TimestepsSoFar")]) / args.num_timesteps
                if len(rows) > 1
                else 0.0
            )
            for pid, rank in ranks_of(run_dir).items():
                try:
                    now, peak[rank] = resident(pid)
                except (OSError, KeyError):
                    continue  # it has ended meanwhile
                if done >= 0.1:
                    files.setdefault("at a tenth", files_of(run_dir, len(rows) - 1))
                    growth[rank] = max(growth.get(rank, 0.0), now - after_tenth.setdefault(rank, now))
        files["at the end"] = files_of(run_dir, max(len(rows) - 1, 1))
    print(
        f"{args.env}, {args.ranks} ranks, {args.num_timesteps:g} steps, load {os.getloadavg()[0]:.1f}: resident memory in MB"
    )
    for rank in sorted(peak):
        print(
            f"rank {rank}: peak {peak[rank]:.0f}, grown by {growth.get(rank, float('nan')):.1f} after the first tenth"
        )
    for when, found in files.items():
        print(
            f"{when}: {found['checkpoints']} checkpoints of {found['bytes_a_checkpoint']:,} bytes, {found['others']} other files, "
            f"{found['bytes_a_row']:.1f} bytes of logs a row, {found['bytes_an_episode']:.1f} bytes of monitor files an episode"
        )
    if args.json:
        args.json.write_text(json.dumps({"peak": peak, "grown": growth, "files": files}) + "\n")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
