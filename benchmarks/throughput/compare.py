#!/usr/bin/env python
"""Throughput, side by side: training's steps per second over those of the environment alone, and over the peers', in one run.

    python -m benchmarks.throughput.compare                    Hopper-v4 and HalfCheetah-v4 against the environment alone
    python -m benchmarks.throughput.compare --family           and TRPO and the adaptive KL penalty
    python -m benchmarks.throughput.compare --peers --atari    and against Stable-Baselines3, SBX and CleanRL's settings; Pong against SB3

Machines are shared and noisy, so nothing is compared across time: contestants take turns, round after round, and what is held to a target
is the median of the rounds' ratios. Every measurement is a fresh process (measurements.py); ours is the real command line.
Ends with status 0 whether targets are met or not, 1 if something fails, 2 for a mistake in what was asked for.
"""

import argparse
import json
import math
import os
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path

from benchmarks.throughput import measurements
from benchmarks.throughput.measurements import Failed, GivenUp
from benchmarks.throughput.report import (
    Load,
    Target,
    figure_lines,
    machine_lines,
    profile_lines,
    target_lines,
    version_line,
)

SEGMENT = 2048  # PPO1's steps an update, per rank, and the peers' in all
ATARI, ATARI_SEGMENT = "PongNoFrameskip-v4", 1024
LEAST_ALONE = {("Hopper-v4", 1): 0.75, ("HalfCheetah-v4", 1): 0.50, ("Hopper-v4", 2): 0.65}  # by (environment, ranks)
LEAST_PEERS = {("sb3", 1): 3.3, ("sbx", 1): 2.0, ("sb3", 2): 4.5, ("sbx", 2): 2.8}  # Hopper-v4, by (peer, ranks)
LEAST_ATARI, LEAST_FAMILY, FIRST_UPDATE = 1.3, 0.7, 8.0
PEERS = {"sb3": "Stable-Baselines3", "sbx": "SBX", "cleanrl": "CleanRL's settings"}
PATIENCE = 3.0  # a look at a peer is given up when it takes this much longer than another
MODULES = {"sb3": ("torch", "stable_baselines3"), "sbx": ("sbx",)}
PACKAGES = ("tensorflow", "gymnasium", "mujoco", "ale-py", "mpi4py", "mpich", "numpy")
PEER_PACKAGES = ("stable-baselines3", "sbx-rl", "torch", "jax", "gymnasium", "numpy")


@dataclass(frozen=True)
class Lengths:
    """How long things are measured, and how often.

    Attributes:
        rounds: how often every contestant has its turn.
        seconds: of the environment alone.
        iterations, skip: updates of ours, and those left out; between them two checkpoints of the default 25.
        atari_iterations, peer_iterations, search_iterations: likewise, of both on Atari, of a peer, and of one look for its best.
        peer_skip: updates left out of those three.
    """

    rounds: int = 3
    seconds: float = 8.0
    iterations: int = 55
    skip: int = 5
    atari_iterations: int = 20
    peer_iterations: int = 15
    search_iterations: int = 6
    peer_skip: int = 2


QUICK = Lengths(rounds=1, seconds=1.0, iterations=6, skip=2, atari_iterations=3, peer_iterations=3, search_iterations=3)


def measured(name, measure):
    """Figures of one measurement, with `others`, printed as they come."""
    load = Load()
    figures = measure()
    figures["others"] = load.others()
    extra = "".join(
        f", {key.replace('_', ' ')} {figures[key]:.1f} s" for key in ("first_update", "compile") if key in figures
    )
    print(f"    {name}: {figures['steps_per_second']:,.0f} steps/s{extra}", flush=True)
    return figures


def in_turns(title, entries, rounds):
    """Every contestant's figures, round after round.

    Args:
        title: what is measured.
        entries: {name: function () -> figures}.
        rounds: how many.

    Returns:
        [{name: figures}], one dict a round.
    """
    found = []
    for number in range(rounds):
        print(f"{title}, round {number + 1} of {rounds}", flush=True)
        found.append({name: measured(name, measure) for name, measure in entries.items()})
    return found


def best_peer(python, library, env_id, environments, lengths, iterations):
    """A peer at its best on this machine, by one short look at each choice.

    Args:
        environments: numbers of environments to try, each with 1 and 2 threads.

    Returns:
        (name, function () -> figures).
    """
    print(f"{PEERS[library]} on {env_id}: looking for its best", flush=True)
    speeds, patience = {}, None
    for threads, num_envs in product((1, 2), environments):
        name, began = f"{num_envs} env, {threads} threads", time.perf_counter()
        look = partial(
            measurements.peer,
            python,
            library,
            env_id,
            num_envs,
            threads,
            lengths.search_iterations,
            lengths.peer_skip,
            patience,
        )
        try:
            speeds[num_envs, threads] = measured(name, look)["steps_per_second"]
        except GivenUp as error:
            print(f"    {name}: {error}", flush=True)
        # all looks are at the same number of steps; where cores are taken, PyTorch's second thread can make one fifty times longer
        patience = min(patience or math.inf, PATIENCE * (time.perf_counter() - began))
    num_envs, threads = max(speeds, key=speeds.get)
    return (
        f"{PEERS[library]}, {num_envs} env, {threads} threads",
        partial(measurements.peer, python, library, env_id, num_envs, threads, iterations, lengths.peer_skip),
    )


def mujoco_entries(env_id, lengths, peers_python, family):
    """Contestants and targets of one of MuJoCo's tasks.

    Args:
        peers_python: interpreter of the peers; None leaves them out.
        family: on Hopper-v4, TRPO and the adaptive KL penalty, too.

    Returns:
        ({name: function () -> figures} in the order of their turns, [Target]).
    """
    entries, targets = {}, []
    for ranks in (1, 2) if (env_id, 2) in LEAST_ALONE else (1,):
        alone, ours = (
            f"environment alone, {ranks} process{'es' * (ranks > 1)}",
            f"ours, {ranks} rank{'s' * (ranks > 1)}",
        )
        entries[alone] = partial(measurements.environment_alone, env_id, ranks, lengths.seconds)
        entries[ours] = partial(
            measurements.ours, env_id, "ppo1", ranks, lengths.iterations, SEGMENT * ranks, lengths.skip
        )
        targets.append(Target(ours, alone, LEAST_ALONE.get((env_id, ranks), 0.0)))
        if ranks == 1:
            targets.append(Target(ours, figure="first_update", most=FIRST_UPDATE))
    if family and env_id == "Hopper-v4":
        alone = "environment alone, 1 process"
        for name, preset, words in (
            ("ours, TRPO", "trpo", ()),
            ("ours, adaptive KL", "ppo1", ("--objective", "adaptive_kl")),
        ):
            entries[name] = partial(
                measurements.ours, env_id, preset, 1, lengths.iterations, SEGMENT, lengths.skip, words=words
            )
            targets.append(Target(name, alone, LEAST_FAMILY))
    if peers_python and env_id == "Hopper-v4":
        eight = "ours, 1 rank, 8 env"
        entries[eight] = partial(measurements.ours, env_id, "ppo1", 1, lengths.iterations, SEGMENT, lengths.skip, 8)
        for library in PEERS:
            name, measure = best_peer(peers_python, library, env_id, (1, 8), lengths, lengths.peer_iterations)
            entries[name] = measure
            targets += [
                Target(ours, name, LEAST_PEERS.get((library, ranks), 0.0))
                for ours, ranks in (("ours, 1 rank", 1), (eight, 1), ("ours, 2 ranks", 2))
            ]
    return entries, targets


def atari_entries(lengths, peers_python):
    """As `mujoco_entries`, on Atari: our preset, 8 environments of 128 steps, 4 epochs of minibatches of 256; SB3 at the same."""
    ours = "ours, 1 rank, preset atari"
    name, measure = best_peer(peers_python, "sb3", ATARI, (8,), lengths, lengths.atari_iterations)
    train = partial(measurements.ours, ATARI, "atari", 1, lengths.atari_iterations, ATARI_SEGMENT, lengths.peer_skip)
    return {ours: train, name: measure}, [Target(ours, name, LEAST_ATARI)]


def check_peers(python, libraries):
    """Raises SystemExit(2), with the line that installs them, if `python` lacks a peer."""
    try:
        missing = measurements.missing_packages(
            python, [module for library in libraries for module in MODULES.get(library, ())]
        )
    except (OSError, Failed) as error:
        complain(f"--peers-python {python} cannot be run: {str(error).splitlines()[-1]}")
    if missing:
        complain(f"{', '.join(missing)}: not installed for {python}; pip install -e '.[peers]', or give --peers-python")


def complain(message):
    """Ends with one line on what was wrong with the command, and status 2."""
    print(f"compare.py: error: {message}", file=sys.stderr)
    raise SystemExit(2)


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--env",
        nargs="*",
        default=["Hopper-v4", "HalfCheetah-v4"],
        metavar="ID",
        help="MuJoCo tasks [Hopper-v4 HalfCheetah-v4]",
    )
    parser.add_argument(
        "--peers", action="store_true", help="on Hopper-v4, measure Stable-Baselines3, SBX and CleanRL's settings, too"
    )
    parser.add_argument("--atari", action="store_true", help=f"measure {ATARI} against Stable-Baselines3, too")
    parser.add_argument(
        "--family", action="store_true", help="on Hopper-v4, measure TRPO and the adaptive KL penalty, too"
    )
    parser.add_argument(
        "--peers-python", default=sys.executable, metavar="PATH", help="interpreter that has the peers [this one]"
    )
    parser.add_argument("--rounds", type=int, help=f"turns of every contestant [{Lengths().rounds}]")
    parser.add_argument("--quick", action="store_true", help="a smoke test: all of it, too short to mean anything")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser


def main():
    """Measure, report; returns the exit status."""
    args = build_parser().parse_args()
    if args.rounds is not None and args.rounds < 1:
        complain(f"--rounds {args.rounds}; give at least 1")
    lengths = QUICK if args.quick else Lengths()
    rounds = args.rounds or lengths.rounds
    if args.peers or args.atari:
        check_peers(args.peers_python, PEERS if args.peers else ["sb3"])
    load = os.getloadavg()
    versions = measurements.versions(sys.executable, PACKAGES)
    if args.peers or args.atari:
        versions |= {
            f"{name} (peers)": version
            for name, version in measurements.versions(args.peers_python, PEER_PACKAGES).items()
        }
    contests, profiles, results = {}, {}, {}
    try:
        for env_id in args.env:
            profiles[env_id] = measurements.profile(env_id, "ppo1")
            print("\n".join(profile_lines(env_id, profiles[env_id])), flush=True)
            contests[env_id] = mujoco_entries(env_id, lengths, args.peers_python if args.peers else None, args.family)
            results[env_id] = in_turns(env_id, contests[env_id][0], rounds)
        if args.atari:
            contests[ATARI] = atari_entries(lengths, args.peers_python)
            results[ATARI] = in_turns(ATARI, contests[ATARI][0], rounds)
    except Failed as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 1
    print()
    for title, found in results.items():
        targets = contests[title][1]
        print("\n".join([*figure_lines(title, found), *target_lines("", found, targets), ""]))
    print("\n".join([*machine_lines(load, results), version_line(versions)]))
    if args.json:
        args.json.write_text(
            json.dumps(
                {
                    "lengths": asdict(lengths) | {"rounds": rounds},
                    "versions": versions,
                    "load_average": load,
                    "rounds": results,
                    "seconds_an_iteration": profiles,
                },
                indent=1,
            )
            + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
