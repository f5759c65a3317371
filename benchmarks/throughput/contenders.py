"""Contenders of compare.py: what is measured on each task, and the required ratios."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

from benchmarks.throughput.measurements import (
    MeasurementTimeout,
    Metrics,
    measure_bare_env,
    measure_library,
    measure_training,
    missing_packages,
)
from benchmarks.throughput.report import Load, Requirement

Measure = Callable[[], Metrics]
SEGMENT = 2048  # steps per update: of PPO1 per rank, of the other libraries in all
ATARI, ATARI_SEGMENT = "PongNoFrameskip-v4", 1024
ONE, TWO = "ours, 1 rank", "ours, 2 ranks"
MUJOCO_ONE, MUJOCO_TWO = "ours, preset mujoco, 1 core", "ours, preset mujoco, 2 cores"
EIGHT = "ours, 1 rank, 8 env"
BARE, PHYSICS = "environment alone, 1 process", "mj_step alone, 1 process"
BARE_TWO = "environment alone, 2 processes"
# (environment, ours) -> minimum ratio to the environment alone, of as many processes as ranks
MIN_BARE_RATIO = {
    ("Hopper-v4", ONE): 1.0,
    ("Walker2d-v4", ONE): 0.95,
    ("Ant-v4", ONE): 0.9,
    ("HalfCheetah-v4", ONE): 0.65,
    ("Hopper-v4", MUJOCO_ONE): 1.2,
    ("HalfCheetah-v4", MUJOCO_ONE): 0.8,
    ("Hopper-v4", MUJOCO_TWO): 1.9,
    ("Hopper-v4", TWO): 0.9,
}
MIN_PHYSICS_RATIO = {("Hopper-v4", MUJOCO_ONE): 0.65, ("HalfCheetah-v4", MUJOCO_ONE): 0.55}  # to `mj_step` alone
# Hopper-v4: (library, ours) -> minimum ratio
MIN_LIBRARY_RATIO = {
    ("sb3", EIGHT): 4.0,
    ("sbx", EIGHT): 2.5,
    ("envpool", EIGHT): 1.3,
    ("sb3", TWO): 4.5,
    ("sbx", TWO): 2.8,
}
MIN_ATARI_RATIO = 1.8
MIN_ALGORITHM_RATIO = 0.7  # TRPO and adaptive KL, to the environment alone
MAX_FIRST_UPDATE = 6.0  # seconds
LIBRARIES = {
    "sb3": "Stable-Baselines3",
    "sbx": "SBX",
    "cleanrl": "CleanRL's settings",
    "envpool": "EnvPool, with our update",
    "sb3-trpo": "sb3-contrib's TRPO",
}
# library -> modules that it needs
MODULES = {
    "sb3": ("torch", "stable_baselines3"),
    "sbx": ("sbx",),
    "cleanrl": ("torch",),
    "envpool": ("envpool", "tensorflow"),
    "sb3-trpo": ("sb3_contrib",),
}
MAX_SLOWDOWN = 3.0  # a configuration of a library is abandoned at this multiple of the fastest one's time


@dataclass(frozen=True)
class Lengths:
    """Duration and number of measurements.

    Attributes:
        rounds: measurements of each contender.
        seconds: of the environment alone.
        iterations: updates of a MuJoCo training of this package.
        skip: of them, updates that are excluded; the rest includes two checkpoints at the default interval of 25.
        atari_iterations: updates on Atari, of this package and SB3.
        library_iterations: updates of another library.
        search_iterations: updates of one trial in the search for its best configuration.
        library_skip: updates excluded from the last three.
    """

    rounds: int = 3
    seconds: float = 8.0
    iterations: int = 55
    skip: int = 5
    atari_iterations: int = 20
    library_iterations: int = 15
    search_iterations: int = 6
    library_skip: int = 2


QUICK = Lengths(
    rounds=1, seconds=1.0, iterations=6, skip=2, atari_iterations=3, library_iterations=3, search_iterations=3
)


def measure_with_load(name: str, measure: Measure) -> Metrics:
    """Take one measurement, add `others` (cores used by other processes) and print it."""
    load = Load()
    metrics = measure()
    metrics["others"] = load.other_cores()
    keys = [key for key in ("first_update", "compile") if key in metrics]
    extra = "".join(f", {key.replace('_', ' ')} {metrics[key]:.1f} s" for key in keys)
    print(f"    {name}: {metrics['steps_per_second']:,.0f} steps/s{extra}", flush=True)
    return metrics


def run_rounds(title: str, contenders: dict[str, Measure], rounds: int) -> list[dict[str, Metrics]]:
    """Measure all contenders in turn, round after round; returns {name: metrics} for each round."""
    found = []
    for number in range(rounds):
        print(f"{title}, round {number + 1} of {rounds}", flush=True)
        found.append({name: measure_with_load(name, measure) for name, measure in contenders.items()})
    return found


def best_configuration(
    python: str, library: str, env_id: str, env_counts: Sequence[int], lengths: Lengths, iterations: int
) -> tuple[str, Measure]:
    """Find the fastest configuration of a library on this machine by one short trial of each.

    Args:
        python: interpreter that has the library.
        library: key of `LIBRARIES`.
        env_id: Gymnasium id.
        env_counts: numbers of environments to try, each with 1 and 2 threads.
        lengths: of the trials.
        iterations: of the measurement that is returned.

    Returns:
        (name, measurement).
    """
    print(f"{LIBRARIES[library]} on {env_id}: searching for its best configuration", flush=True)
    speeds: dict[tuple[int, int], float] = {}
    limit: float | None = None
    for threads, num_envs in product((1, 2), env_counts):
        name, began = f"{num_envs} env, {threads} threads", time.perf_counter()
        configuration = python, library, env_id, num_envs, threads
        trial = partial(measure_library, *configuration, lengths.search_iterations, lengths.library_skip, limit)
        try:
            speeds[num_envs, threads] = measure_with_load(name, trial)["steps_per_second"]
        except MeasurementTimeout as error:
            print(f"    {name}: {error}", flush=True)
        # All trials have equally many steps. On busy cores a second PyTorch thread can make a trial fifty times slower.
        limit = min(limit or math.inf, MAX_SLOWDOWN * (time.perf_counter() - began))
    num_envs, threads = max(speeds, key=lambda key: speeds[key])
    return (
        f"{LIBRARIES[library]}, {num_envs} env, {threads} threads",
        partial(measure_library, python, library, env_id, num_envs, threads, iterations, lengths.library_skip),
    )


def mujoco_contenders(
    env_id: str, lengths: Lengths, library_python: str | None, algorithms: bool
) -> tuple[dict[str, Measure], list[Requirement]]:
    """Contenders and requirements of one MuJoCo task.

    Args:
        env_id: Gymnasium id.
        lengths: of the measurements.
        library_python: interpreter of the other libraries; None: do not measure them.
        algorithms: on Hopper-v4, also measure TRPO and the adaptive KL penalty.

    Returns:
        ({name: measurement} in the order of each round, requirements).
    """
    train = partial(measure_training, env_id, iterations=lengths.iterations, steps=SEGMENT, skip=lengths.skip)
    contenders: dict[str, Measure] = {
        BARE: partial(measure_bare_env, env_id, 1, lengths.seconds),
        PHYSICS: partial(measure_bare_env, env_id, 1, lengths.seconds, physics=True),
        ONE: partial(train, "ppo1", 1),
    }
    if (env_id, MUJOCO_ONE) in MIN_BARE_RATIO:
        contenders[MUJOCO_ONE] = partial(train, "mujoco", 1, cores=1)
    if (env_id, MUJOCO_TWO) in MIN_BARE_RATIO:
        contenders[MUJOCO_TWO] = partial(train, "mujoco", 1, cores=2)
    if (env_id, TWO) in MIN_BARE_RATIO:
        contenders[BARE_TWO] = partial(measure_bare_env, env_id, 2, lengths.seconds)
        contenders[TWO] = partial(train, "ppo1", 2, steps=2 * SEGMENT)
    requirements = [Requirement(ONE, metric="first_update", maximum=MAX_FIRST_UPDATE)]
    for ours in [name for name in contenders if name.startswith("ours")]:
        bare = BARE_TWO if ours == TWO else BARE
        requirements.append(Requirement(ours, bare, MIN_BARE_RATIO.get((env_id, ours), 0.0)))
        if ours != TWO:
            requirements.append(Requirement(ours, PHYSICS, MIN_PHYSICS_RATIO.get((env_id, ours), 0.0)))
    if env_id == "Hopper-v4":
        if algorithms:
            contenders["ours, TRPO"] = partial(train, "trpo", 1)
            contenders["ours, adaptive KL"] = partial(train, "ppo1", 1, arguments=("--objective", "adaptive_kl"))
            for name in ("ours, TRPO", "ours, adaptive KL"):
                requirements.append(Requirement(name, BARE, MIN_ALGORITHM_RATIO))
        if library_python:
            contenders[EIGHT] = partial(train, "ppo1", 1, num_envs=8)
            requirements += add_libraries(contenders, env_id, lengths, library_python, algorithms)
    return contenders, requirements


def add_libraries(
    contenders: dict[str, Measure], env_id: str, lengths: Lengths, python: str, algorithms: bool
) -> list[Requirement]:
    """Add the best configuration of each library; return the requirements on our ratios to them.

    Args:
        contenders: is changed.
        env_id: Gymnasium id.
        lengths: of the measurements.
        python: interpreter of the libraries; a library that it does not have is left out.
        algorithms: also compare our TRPO with sb3-contrib's.
    """
    requirements = []
    for library in LIBRARIES:
        if missing_packages(python, MODULES[library]) or (library == "sb3-trpo" and not algorithms):
            continue
        env_counts = (8,) if library == "envpool" else (1, 8)
        name, measure = best_configuration(python, library, env_id, env_counts, lengths, lengths.library_iterations)
        contenders[name] = measure
        for ours in ("ours, TRPO",) if library == "sb3-trpo" else (ONE, EIGHT, TWO):
            requirements.append(Requirement(ours, name, MIN_LIBRARY_RATIO.get((library, ours), 0.0)))
    return requirements


def atari_contenders(lengths: Lengths, library_python: str) -> tuple[dict[str, Measure], list[Requirement]]:
    """Contenders and requirements on Atari: preset `atari` and SB3 with its settings.

    Both use 8 environments of 128 steps and 4 epochs of minibatches of 256.
    """
    ours = "ours, 1 rank, preset atari"
    iterations = lengths.atari_iterations
    name, measure = best_configuration(library_python, "sb3", ATARI, (8,), lengths, iterations)
    train = partial(measure_training, ATARI, "atari", 1, iterations, ATARI_SEGMENT, lengths.library_skip)
    return {ours: train, name: measure}, [Requirement(ours, name, MIN_ATARI_RATIO)]
