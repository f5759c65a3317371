"""Compare the throughput of training with that of the environment alone, and of other libraries.

    python -m benchmarks.throughput.compare                    four MuJoCo tasks, compared with the environment and the physics alone
    python -m benchmarks.throughput.compare --family           also TRPO and the adaptive KL penalty
    python -m benchmarks.throughput.compare --peers --atari    also other libraries; Pong and SB3

The other libraries are those that are installed for --peers-python: Stable-Baselines3, SBX, a loop with CleanRL's settings, EnvPool with
the update of this package, and, with --family, sb3-contrib's TRPO. CleanRL's package has scripts of 2021, which need old Gym.

Machines are shared and noisy, so only measurements of one run are compared: the contenders take turns, round after round, and a
requirement applies to the median ratio of the rounds. Every measurement is a fresh process (measurements.py); this package is
measured through its command line. The exit status is 0 if requirements are met or missed, 1 for a failure, 2 for an invalid option.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from benchmarks.returns.command_line import positive_int
from benchmarks.throughput.contenders import (
    ATARI,
    MODULES,
    QUICK,
    Lengths,
    atari_contenders,
    mujoco_contenders,
    run_rounds,
)
from benchmarks.throughput.measurements import (
    MeasurementError,
    installed_versions,
    missing_packages,
    profile_iteration,
)
from benchmarks.throughput.report import machine_lines, metric_lines, profile_lines, requirement_lines, version_line

PACKAGES = ("tensorflow", "gymnasium", "mujoco", "ale-py", "mpi4py", "mpich", "numpy")
LIBRARY_PACKAGES = ("stable-baselines3", "sb3-contrib", "sbx-rl", "envpool", "torch", "jax", "gymnasium", "numpy")


def check_libraries(parser: argparse.ArgumentParser, python: str, libraries: Iterable[str]) -> None:
    """End with status 2 and the install command if `python` lacks a library."""
    modules = [module for library in libraries for module in MODULES.get(library, ())]
    try:
        missing = missing_packages(python, modules)
    except (OSError, MeasurementError) as error:
        parser.error(f"--peers-python {python} does not run: {str(error).splitlines()[-1]}")
    if missing:
        parser.error(
            f"{', '.join(missing)}: not installed for {python}; run pip install -e '.[peers]', or set --peers-python"
        )


def build_parser() -> argparse.ArgumentParser:
    """The command line parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = ["Hopper-v4", "HalfCheetah-v4", "Walker2d-v4", "Ant-v4"]
    parser.add_argument("--env", nargs="*", default=tasks, metavar="ID", help=f"MuJoCo tasks [{' '.join(tasks)}]")
    parser.add_argument(
        "--peers", action="store_true", help="on Hopper-v4, also measure the other libraries that are installed"
    )
    parser.add_argument("--atari", action="store_true", help=f"also measure {ATARI} and compare with Stable-Baselines3")
    parser.add_argument(
        "--family", action="store_true", help="on Hopper-v4, also measure TRPO and the adaptive KL penalty"
    )
    parser.add_argument(
        "--peers-python", default=sys.executable, metavar="PATH", help="interpreter of the other libraries [this one]"
    )
    parser.add_argument("--rounds", type=positive_int, help=f"measurements of each contender [{Lengths().rounds}]")
    parser.add_argument("--quick", action="store_true", help="smoke test: all measurements, too short to be meaningful")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all metrics to this file")
    return parser


def main() -> int:
    """Measure and report; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args()
    lengths = QUICK if args.quick else Lengths()
    rounds = args.rounds or lengths.rounds
    with_libraries = args.peers or args.atari
    if with_libraries:
        check_libraries(parser, args.peers_python, ["sb3"])
    load = os.getloadavg()
    versions = installed_versions(sys.executable, PACKAGES)
    if with_libraries:
        found = installed_versions(args.peers_python, LIBRARY_PACKAGES)
        versions |= {f"{name} (peers)": version for name, version in found.items()}
    requirements, profiles, results = {}, {}, {}
    try:
        for env_id in args.env:
            profiles[env_id] = profile_iteration(env_id, "ppo1")
            print("\n".join(profile_lines(env_id, profiles[env_id])), flush=True)
            library_python = args.peers_python if args.peers else None
            contenders, requirements[env_id] = mujoco_contenders(env_id, lengths, library_python, args.family)
            results[env_id] = run_rounds(env_id, contenders, rounds)
        if args.atari:
            contenders, requirements[ATARI] = atari_contenders(lengths, args.peers_python)
            results[ATARI] = run_rounds(ATARI, contenders, rounds)
    except MeasurementError as error:
        print(f"compare.py: error: {error}", file=sys.stderr)
        return 1
    print()
    for title, found in results.items():
        print("\n".join([*metric_lines(title, found), *requirement_lines("", found, requirements[title]), ""]))
    print("\n".join([*machine_lines(load, results), version_line(versions)]))
    if args.json:
        content = {
            "lengths": asdict(lengths) | {"rounds": rounds},
            "versions": versions,
            "load_average": load,
            "rounds": results,
            "seconds_per_iteration": profiles,
        }
        args.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
