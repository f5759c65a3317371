"""What long benchmarks have finished: a JSON line a training in results/<benchmark>.jsonl, and which training each of them counts for."""

import contextlib
import fcntl
import functools
import inspect
import json
import os
import threading
from dataclasses import dataclass, fields
from pathlib import Path

from baselines_ppo.cli.parser import POLICY_SETTINGS, RunSettings, parse  # noqa: E402
from baselines_ppo.config.resolve import resolve_for_env  # noqa: E402
from baselines_ppo.config.settings import ALGORITHMS  # noqa: E402
from baselines_ppo.plot.grouping import NOT_GROUPABLE  # noqa: E402
from benchmarks.paths import RESULTS
from common.errors import UserError  # noqa: E402
from common.runtime.tf_import import import_tensorflow  # noqa: E402

DECIDE_NOTHING = NOT_GROUPABLE | {"preset"}  # a preset's name; what it comes to is in the other settings


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        benchmark: whose it is; names the results file.
        setting: what is compared.
        env, seed, steps: the task, and how long.
        words: further arguments of the command line.
        episodes: of the final policy, deterministic and as many stochastic ones; 0 for none.
        ranks: under mpirun, where there is more than one.
        by_settings: a line counts for it only if it was trained with the settings that the words come to now: for words that leave them to a
            preset that may change.
    """

    benchmark: str
    setting: str
    env: str
    seed: int
    steps: int
    words: tuple = ()
    episodes: int = 0
    ranks: int = 1
    by_settings: bool = False

    @property
    def key(self):
        return self.benchmark, self.setting, self.env, self.seed, self.steps

    @functools.cached_property
    def settings(self):
        """{name: value} of every setting that decides what it comes to: its words, the presets and the defaults as they are now.

        Raises:
            UserError: if its words cannot be.
        """
        typed, _ = parse(["--env", self.env, "--num-timesteps", str(self.steps), *map(str, self.words)])
        settings = resolve_for_env(typed, self.ranks, cores=1)
        settings["policy_settings"] = policy_defaults_of(settings["policy"]) | settings["policy_settings"]
        return json.loads(
            json.dumps({name: value for name, value in settings.items() if name not in DECIDE_NOTHING})
        )  # as a line holds them

    def __str__(self):
        return f"{self.env}, {self.setting}, seed {self.seed}"


def key_of(line):
    """The key of the job that a line was written for."""
    return line["benchmark"], line["setting"], line["env"], line["seed"], line["steps"]


def same_settings(then, now):
    """Whether a line's settings, `then`, are a job's, `now`. One that a line does not name did not exist when it was trained: it was as its default is."""
    defaults = {one.name: one.default for cls in (RunSettings, ALGORITHMS[now["alg"]]) for one in fields(cls)}
    policy, policy_defaults = then["policy_settings"], policy_defaults_of(now["policy"])
    return all(
        then.get(name, defaults.get(name)) == value for name, value in now.items() if name != "policy_settings"
    ) and all(policy.get(name, policy_defaults[name]) == value for name, value in now["policy_settings"].items())


def policy_defaults_of(policy):
    """{name: default} of a policy's settings, mlp's or cnn's."""
    import_tensorflow(threads=1)
    from baselines_ppo.policy_registry import policy_class

    parameters = inspect.signature(policy_class(policy)).parameters
    return {name: parameters[name].default for name in POLICY_SETTINGS if name in parameters}


class Results:
    """Finished trainings of one benchmark, a JSON line each. Reading them writes nothing.

    Args:
        benchmark: its name.
        folder: where `<benchmark>.jsonl` is.

    Attributes:
        lines: the whole ones, in order. A last line without an end is left out: it is being written, or its writer was killed.
    """

    def __init__(self, benchmark, folder=RESULTS):
        self.path, self.lock = Path(folder) / f"{benchmark}.jsonl", threading.Lock()
        data = self.path.read_bytes() if self.path.exists() else b""
        self.lines = [json.loads(line) for line in data[: data.rfind(b"\n") + 1].decode().splitlines()]

    def finished(self, job):
        """The last line that counts for a job, or None."""
        return next((line for line in reversed(self.lines) if key_of(line) == job.key and counts_for(line, job)), None)

    def __contains__(self, job):
        return self.finished(job) is not None

    def outdated(self, job):
        """How many lines of a job's own do not count for it, for they are of other settings or lack its evaluation."""
        return sum(key_of(line) == job.key and not counts_for(line, job) for line in self.lines)

    def add(self, line):
        """Append a line, so that it is on disk when this returns; what a writer that was killed left of its last one is cut off."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.lock, self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # all who write take it: what has no end is nobody's any more
            file.seek(0)
            data = file.read()
            file.truncate(data.rfind(b"\n") + 1)
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            self.lines.append(line)


def counts_for(line, job):
    """Whether a line under a job's key has what the job asks for."""
    if len(line.get("deterministic", ())) < job.episodes:
        return False
    if not job.by_settings:
        return True
    with contextlib.suppress(UserError):  # words that cannot be any longer: no line is of them
        return same_settings(line["settings"], job.settings)
    return False


def check(jobs):
    """The settings of all jobs; raises UserError for the first whose words cannot be, before any is trained."""
    return [job.settings for job in jobs]
