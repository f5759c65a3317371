"""Result files of the long benchmarks: one JSON line per finished training in results/<benchmark>.jsonl.

A line belongs to a training job if their keys are equal, and satisfies it if it has the settings and episodes that the job asks for.
"""

import contextlib
import fcntl
import functools
import json
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from baselines_ppo.cli.parser import parse
from baselines_ppo.config.policy_settings import POLICIES
from baselines_ppo.config.registry import NOT_GROUPABLE
from baselines_ppo.config.run_settings import RunSettings
from baselines_ppo.config.settings import ALGORITHMS
from baselines_ppo.experiment.setup import resolve_config
from benchmarks import paths
from common.errors import UserError

Line = dict[str, Any]  # one JSON line of a result file
Key = tuple[str, str, str, int, int]  # benchmark, setting, environment, seed, steps


class Kernels(NamedTuple):
    """A way to make the numeric libraries round differently, as on another processor.

    Attributes:
        variables: of the environment.
        flags: of /proc/cpuinfo, which it requires.
    """

    variables: dict[str, str] = {}
    flags: frozenset[str] = frozenset()


OWN_KERNELS = "own"
KERNELS = {
    OWN_KERNELS: Kernels(),
    # a processor without AVX-512 may use these anyway
    "haswell": Kernels({"OPENBLAS_CORETYPE": "Haswell"}, frozenset({"avx2", "fma", "avx512f"})),
    "vector-512": Kernels({"XLA_FLAGS": "--xla_cpu_prefer_vector_width=512"}, frozenset({"avx512f"})),
    "two-threads": Kernels({"TF_NUM_INTRAOP_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}),
}
IRRELEVANT_SETTINGS = {*NOT_GROUPABLE, "preset"}  # a preset is compared by the settings that it stands for


@dataclass(frozen=True)
class TrainingJob:
    """One training.

    Attributes:
        benchmark: name of the benchmark and of its results file.
        setting: label of the compared setting.
        env: Gymnasium id.
        seed: of the run.
        steps: environment steps, over all ranks.
        arguments: further arguments of the command line.
        episodes: evaluation episodes of the final policy, deterministic and stochastic each; 0 for none.
        ranks: MPI processes; more than one run under mpirun.
        kernels: name in `KERNELS`; the setting's label must differ, too.
        match_settings: accept a result line only if its settings are those that `arguments` resolve to now. Set it where
            the arguments name a preset, or rely on the automatic preset, because presets may change.
    """

    benchmark: str
    setting: str
    env: str
    seed: int
    steps: int
    arguments: tuple[str, ...] = ()
    episodes: int = 0
    ranks: int = 1
    match_settings: bool = False
    kernels: str = OWN_KERNELS

    @property
    def key(self) -> Key:
        return self.benchmark, self.setting, self.env, self.seed, self.steps

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """{name: value} of every setting that affects the result: the arguments over the current presets and defaults.

        Raises:
            UserError: if an argument is invalid.
        """
        explicit, _ = parse(["--env", self.env, "--num-timesteps", str(self.steps), *map(str, self.arguments)])
        settings = resolve_config(explicit, self.ranks, cores=1).to_dict()
        relevant = {name: value for name, value in settings.items() if name not in IRRELEVANT_SETTINGS}
        if relevant["action_masks"] is None:  # detected when the run starts
            del relevant["action_masks"]
        return json.loads(json.dumps(relevant))  # the types that a JSON line holds

    def __str__(self) -> str:
        return f"{self.env}, {self.setting}, seed {self.seed}"


def with_kernels(label: str, kernels: str) -> str:
    """The label of a setting that is trained with other kernels."""
    return label if kernels == OWN_KERNELS else f"{label}, {kernels} kernels"


def key_of(line: Line) -> Key:
    """The key of the job that a line was written for."""
    return line["benchmark"], line["setting"], line["env"], line["seed"], line["steps"]


def same_settings(recorded: dict[str, Any], current: dict[str, Any]) -> bool:
    """Whether the settings of a line equal those of a job.

    A setting that the line lacks did not exist when it was written; its default was in effect.
    """
    defaults = {field.name: field.default for cls in (RunSettings, ALGORITHMS[current["alg"]]) for field in fields(cls)}
    policy, policy_default = recorded["policy_settings"], policy_defaults(current["policy"])
    same_run = all(
        recorded.get(name, defaults.get(name)) == value for name, value in current.items() if name != "policy_settings"
    )
    return same_run and all(
        policy.get(name, policy_default[name]) == value for name, value in current["policy_settings"].items()
    )


def policy_defaults(policy: str) -> dict[str, Any]:
    """{name: default} of the settings of a policy, 'mlp' or 'cnn'."""
    return {field.name: field.default for field in fields(POLICIES[policy])}


class ResultFile:
    """Finished trainings of one benchmark, one JSON line each. Reading writes nothing.

    Args:
        benchmark: its name.
        directory: of `<benchmark>.jsonl`; `benchmarks/results` if None.

    Attributes:
        lines: the complete lines, in order. A last line without a line end is skipped: it is being written, or its
            writer was killed.
    """

    def __init__(self, benchmark: str, directory: Path | None = None) -> None:
        self.path = Path(directory or paths.RESULTS) / f"{benchmark}.jsonl"
        self.lock = threading.Lock()
        data = self.path.read_bytes() if self.path.exists() else b""
        complete = data[: data.rfind(b"\n") + 1].decode()
        self.lines: list[Line] = [json.loads(line) for line in complete.splitlines()]

    def find(self, job: TrainingJob) -> Line | None:
        """The last line that satisfies a job, or None."""
        return next((line for line in reversed(self.lines) if key_of(line) == job.key and satisfies(line, job)), None)

    def __contains__(self, job: TrainingJob) -> bool:
        return self.find(job) is not None

    def count_outdated(self, job: TrainingJob) -> int:
        """Number of lines with the key of a job that have other settings or lack its evaluation."""
        return sum(key_of(line) == job.key and not satisfies(line, job) for line in self.lines)

    def add(self, line: Line) -> None:
        """Append a line and sync it to disk. Removes an incomplete last line, which a killed writer left."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.lock, self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # every writer takes it, so an incomplete line has no living writer
            file.seek(0)
            data = file.read()
            file.truncate(data.rfind(b"\n") + 1)
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            self.lines.append(line)


def satisfies(line: Line, job: TrainingJob) -> bool:
    """Whether a line with the key of a job has the episodes and settings that the job asks for."""
    if len(line.get("deterministic", ())) < job.episodes:
        return False
    if not job.match_settings:
        return True
    with contextlib.suppress(UserError):  # the arguments have become invalid: no line can have their settings
        return same_settings(line["settings"], job.settings)
    return False


def validate_settings(jobs: Iterable[TrainingJob]) -> None:
    """Resolve the settings of all jobs before any is trained.

    Raises:
        UserError: for the first job with an invalid argument.
    """
    for job in jobs:
        _ = job.settings
