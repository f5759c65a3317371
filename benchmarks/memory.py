"""Resident memory of every rank while it trains: its peak, and how much it grows after the first tenth of the run.

    python benchmarks/memory.py --ranks 8 --num-timesteps 1e6

Linux only: it reads /proc.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def ranks_of(run_dir):
    """{process id: rank} of the processes that train into `run_dir`."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if str(run_dir).encode() in words and b"run.py" in words[1]:
                environ = dict(word.split(b"=", 1) for word in (entry / "environ").read_bytes().split(b"\0") if b"=" in word)
                found[entry.name] = int(environ.get(b"PMI_RANK", environ.get(b"OMPI_COMM_WORLD_RANK", b"0")))
        except (OSError, IndexError):
            continue  # it has ended meanwhile
    return found


def resident(pid):
    """(resident now, its peak so far) in MB."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return tuple(int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--env", default="Hopper-v4")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--num-timesteps", type=float, default=1e6)
    args, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        launcher = [str(Path(sys.executable).with_name("mpirun")), "-n", str(args.ranks)] if args.ranks > 1 else []
        words = [sys.executable, str(ROOT / "run.py"), "--env", args.env, "--num-timesteps", str(args.num_timesteps), "--run-dir", str(run_dir), *rest]
        process = subprocess.Popen([*launcher, *words])
        peak, after_tenth, growth = {}, {}, {}
        while process.poll() is None:
            time.sleep(1.0)
            progress = run_dir / "progress.csv"
            rows = progress.read_text().splitlines() if progress.exists() else []
            done = float(rows[-1].split(",")[rows[0].split(",").index("TimestepsSoFar")]) / args.num_timesteps if len(rows) > 1 else 0.0
            for pid, rank in ranks_of(run_dir).items():
                try:
                    now, peak[rank] = resident(pid)
                except (OSError, KeyError):
                    continue  # it has ended meanwhile
                if done >= 0.1:
                    growth[rank] = max(growth.get(rank, 0.0), now - after_tenth.setdefault(rank, now))
    print(f"{args.env}, {args.ranks} ranks, {args.num_timesteps:g} steps, load {os.getloadavg()[0]:.1f}: resident memory in MB")
    for rank in sorted(peak):
        print(f"rank {rank}: peak {peak[rank]:.0f}, grown by {growth.get(rank, float('nan')):.1f} after the first tenth")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
