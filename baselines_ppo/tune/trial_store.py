"""The trials of a search in an Optuna storage: opened, checked, proposed, ended, and recovered after a kill.

A trial has an index, which names its directory and is shown. Optuna's own number differs from it after a kill: a trial
that was running is entered again, with its index and its values, and the first entry no longer counts.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from baselines_ppo.tune.optuna_library import load_optuna
from baselines_ppo.tune.search_space import Dimension
from common.errors import UserError
from common.formatting import truncate
from common.storage.paths import writable_file

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

DEFINITION, INDEX, REASON, SCORES = "definition", "index", "reason", "scores"  # attributes in the storage
STARTUP_TRIALS = 5  # trials that are finished before one may be stopped early
# Tenths of the first training of a trial in which it is not stopped. Early returns are close to those of the initial
# policy, and their differences are noise. With 2, trials on CartPole were stopped at 22, the initial policy's return.
WARMUP_STEPS = 4
MIN_TRIALS = 3  # finished trials that must have reached a point before their median counts
MAX_REASON = 1000  # characters


@dataclass(frozen=True)
class OpenTrial:
    """A trial whose trainings are running or waiting.

    Attributes:
        trial: Optuna's object.
        index: number of the trial in the search, from 0.
        params: {setting: value} that the sampler chose.
    """

    trial: Trial
    index: int
    params: dict[str, Any]


@contextlib.contextmanager
def storage_errors(optuna: Any, storage: str) -> Iterator[None]:
    """Context manager that turns an error of a storage in use, such as a full disk, into a `UserError`."""
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        reason = truncate(str(error.__cause__ or error).splitlines()[0])
        raise UserError(
            f"--storage {storage} cannot be used ({reason}); the same command continues the search"
        ) from error


def storage_address(storage: str) -> str:
    """Return the address, as Optuna takes it, of a file or of an address.

    Raises:
        UserError: if the file cannot be written.
    """
    if "://" in storage:
        return storage
    return f"sqlite:///{writable_file(storage, '--storage').absolute()}"


class TrialStore:
    """The trials of one search.

    Args:
        storage: file or address.
        name: name of the study in the storage.
        definition: JSON object of what all trials have in common; that of an earlier search must be equal.
        seed: of the sampler.
        prune: whether bad trials are stopped early.

    Raises:
        UserError: if the storage cannot be opened, or contains a search with another definition.
    """

    def __init__(self, storage: str, name: str, definition: Mapping[str, Any], seed: int, prune: bool) -> None:
        self.optuna, self.seed = load_optuna(), seed
        pruners = self.optuna.pruners
        pruner = pruners.MedianPruner(STARTUP_TRIALS, WARMUP_STEPS, n_min_trials=MIN_TRIALS)
        self.study = open_study(self.optuna, storage, name, pruner if prune else pruners.NopPruner())
        self.is_new = DEFINITION not in self.study.user_attrs
        if self.is_new:
            if self.study.get_trials(deepcopy=False):
                raise UserError(
                    f"--storage {storage} contains a study {name!r} of another program; choose another --study name"
                )
        else:
            check_definition(json.loads(self.study.user_attrs[DEFINITION]), definition, storage)
        self.definition = definition

    def begin(self) -> None:
        """Store the definition of a new search; nothing has been written for it before."""
        if self.is_new:
            self.study.set_user_attr(DEFINITION, json.dumps(self.definition))

    def trials(self, *states: str) -> list[FrozenTrial]:
        """Return the trials in these states (names of `TrialState`), in order; all trials for none."""
        chosen = [self.optuna.trial.TrialState[name] for name in states] or None
        found: list[FrozenTrial] = self.study.get_trials(deepcopy=False, states=chosen)
        return found

    def ended(self) -> list[FrozenTrial]:
        """Return the trials that have ended: completed, stopped early, or failed for a reason."""
        ended = self.trials("COMPLETE", "PRUNED", "FAIL")
        return [one for one in ended if one.state.name != "FAIL" or REASON in one.user_attrs]

    def best(self) -> FrozenTrial | None:
        """Return the completed trial with the highest score, or None."""
        return max(self.trials("COMPLETE"), key=lambda one: one.value, default=None)

    def recover(self) -> list[int]:
        """Enter the trials again that were running when an earlier command ended; return their indices.

        A kill between the two steps leaves a trial entered twice, which the next call repairs.
        """
        waiting = {one.user_attrs.get(INDEX) for one in self.trials("WAITING")}
        for one in self.trials("RUNNING"):
            index = one.user_attrs.get(INDEX)
            if index is not None and index not in waiting:
                waiting.add(index)
                self.study.enqueue_trial(one.params, user_attrs={INDEX: index})
            self.study.tell(one.number, state=self.optuna.trial.TrialState.FAIL)
        return sorted(waiting - {None})

    def ask(self, space: Iterable[Dimension]) -> OpenTrial:
        """Return the next trial: one that was recovered, or a new one, with a value for every dimension.

        The sampler is seeded for each trial by the search's seed and the trial's index, so that it has no state: trials
        are the same after a kill.
        """
        index = 1 + max((one.user_attrs.get(INDEX, -1) for one in self.trials()), default=-1)
        sampler_seed = int(np.random.SeedSequence((self.seed, index)).generate_state(1)[0])
        self.study.sampler = self.optuna.samplers.TPESampler(seed=sampler_seed)
        trial = self.study.ask()
        params = {one.name: one.suggest(trial) for one in space}
        if INDEX not in trial.user_attrs:  # last, so that a trial with an index has all its values
            trial.set_user_attr(INDEX, index)
        return OpenTrial(trial, trial.user_attrs[INDEX], params)

    def complete(self, one: OpenTrial, scores: Sequence[float]) -> None:
        """End a trial with the mean of the returns of its seeds."""
        one.trial.set_user_attr(SCORES, list(scores))
        self.study.tell(one.trial, float(np.mean(scores)))

    def prune(self, one: OpenTrial) -> None:
        """End a trial that is stopped early."""
        self.study.tell(one.trial, state=self.optuna.trial.TrialState.PRUNED)

    def fail(self, one: OpenTrial, reason: object) -> None:
        """End a trial whose training failed."""
        one.trial.set_user_attr(REASON, truncate(str(reason), MAX_REASON))
        self.study.tell(one.trial, state=self.optuna.trial.TrialState.FAIL)


def open_study(optuna: Any, storage: str, name: str, pruner: Any) -> Any:
    """Return the study in a storage, which is created if it does not exist.

    Raises:
        UserError: if the storage cannot be opened.
    """
    address = storage_address(storage)
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return optuna.create_study(
            storage=address, study_name=name, direction="maximize", load_if_exists=True, pruner=pruner
        )
    except (SQLAlchemyError, ImportError, ValueError, OSError, RuntimeError, optuna.exceptions.OptunaError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise UserError(
            f"--storage {storage} cannot be opened ({truncate(lines[0])}); give the file of an earlier search, a new "
            "file, or an address such as sqlite:///tuning.db"
        ) from error


def check_definition(before: Mapping[str, Any], now: Mapping[str, Any], storage: str) -> None:
    """Raise UserError, naming the first difference, unless two definitions of a search are equal."""
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
            key, old, new = names[0], old.get(names[0]), new.get(names[0])
        raise UserError(
            f"--storage {storage} contains a search with {key} {describe(old)}, not {describe(new)}; give the same "
            "settings, or choose another --storage or --study"
        )


def describe(value: Any) -> str:
    """Return a value of a definition as text."""
    if value is None:
        return "not given"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def used_directory(storage: str, study: str, root: Path) -> Path:
    """Return the default directory of the trainings of a search.

    Args:
        storage: file or address of its trials.
        study: name of the study.
        root: directory for a storage that is not a file.
    """
    name = "" if study == "tune" else f"-{study}"
    if "://" in storage:
        return root / f"tune{name}"
    path = Path(storage)
    stem = path.stem if path.suffix else f"{path.name}-runs"
    return path.parent / f"{stem}{name}"
