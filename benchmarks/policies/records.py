"""Runs one training in a fresh process, and describes it as a line of a result file."""

import datetime
import os
import platform
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.policies.trainings import NUM_ENVS, Training
from benchmarks.returns.result_files import Line
from benchmarks.returns.training_queue import tree_commit
from benchmarks.throughput.measurements import installed_versions, run_child
from benchmarks.throughput.report import Load

PACKAGES = ("tensorflow", "gymnasium", "numpy")
PEER_PACKAGES = ("sb3-contrib", "stable-baselines3", "torch", "gymnasium", "numpy")
FIRST_TUNING_SEED = 100  # lower seeds are reported, and were not used to choose settings


def run_training(name: str, training: Training, seed: int, steps: int, python: str | None = None) -> Line:
    """Train and evaluate once.

    Args:
        name: of the training.
        training: what is trained.
        seed: of the run.
        steps: environment steps.
        python: interpreter with sb3-contrib, which trains instead of this package.

    Returns:
        The line of the result file.

    Raises:
        MeasurementError: if the training fails.
    """
    module = "benchmarks.policies.train" if python is None else "benchmarks.policies.sb3_contrib_train"
    argv = ["-m", module, name, "--seed", str(seed), "--steps", str(steps)]
    load, start = Load(), os.getloadavg()[0]
    found = run_child([python or sys.executable, *argv])
    others = load.other_cores()
    return {
        "training": name,
        "library": "sb3-contrib" if python else "baselines_ppo",
        "seed": seed,
        "steps": steps,
        **found,
        "settings": asdict(training) | {"settings": training.learn_settings(), "num_envs": NUM_ENVS},
        "command": " ".join(["python", *(f'"{x}"' if " " in x else x for x in argv)]),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "git_commit": tree_commit(),
        "machine": platform.node(),
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)),
        "load_at_start": round(start, 1),
        "other_cores": None if others is None else round(others, 2),
        "versions": installed_versions(python or sys.executable, PEER_PACKAGES if python else PACKAGES),
    }


def processor_name() -> str:
    """The processor's name, family and model, as Linux gives them."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor()
    text = path.read_text()
    parts = [
        match[1]
        for key in ("model name", "cpu family", "model")
        if (match := re.search(rf"^{key}\s*: (.*)$", text, re.M))
    ]
    return parts[0] + "".join(f", {key} {part}" for key, part in zip(("family", "model"), parts[1:]))


def same_training(line: Line, name: str, training: Training, library: str) -> bool:
    """Whether a line is of this training with its current settings and steps."""
    wanted: dict[str, Any] = asdict(training) | {"settings": training.learn_settings(), "num_envs": NUM_ENVS}
    return (line["training"], line["library"], line["settings"]) == (name, library, wanted)


def steady_speed(line: Line, cpu: bool = False, skip: int = 3) -> float:
    """Steps per second after the first updates, which compile; with `cpu` per second of CPU time."""
    first, last = line["history"][skip - 1], line["history"][-1]
    column = 2 if cpu else 1
    return (last[0] - first[0]) / (last[column] - first[column])


def describe_machines(lines: list[Line]) -> str:
    """Processors, versions and load of the lines, as sentences."""
    processors = sorted({f"{line['cores']} cores of {line['processor']}" for line in lines})
    versions = sorted({f"{name} {version}" for line in lines for name, version in line["versions"].items() if version})
    loads = [line["other_cores"] for line in lines if line["other_cores"] is not None]
    busy = f" Other processes used {min(loads)} to {max(loads)} cores." if loads else ""
    return f"Machine: {'; '.join(processors)}.{busy} Versions: {', '.join(versions)}."
