"""Finds an environment's spec by its id; for an unknown id, suggests similar ones."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import re
from collections.abc import Sequence
from types import ModuleType

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from common.envs.atari_wrappers import load_ale
from common.envs.user_code import import_for
from common.errors import UserError
from common.formatting import safe_repr

MAX_SUGGESTIONS = 4
# an Atari game, in any of the spellings of Gym, ALE and users
ATARI = re.compile(r"(?:ALE/)?(\w+?)(?:-ram)?(?:NoFrameskip|Deterministic)?(?:-v\d+)?", re.IGNORECASE)
VERSION = re.compile(r"-v(\d+)$")


def find_spec(env_id: str) -> EnvSpec:
    """Return the registered spec of `Name-v0`, or of `module:Name-v0`, whose module registers it.

    Raises:
        UserError: for an unknown id, with suggestions; or if the module cannot be imported.
    """
    module, _, name = env_id.rpartition(":")
    if ":" in env_id:
        before = set(gym.registry)
        home = import_for(env_id, module)
        if name not in gym.registry:
            raise UserError(
                f"unknown environment {safe_repr(env_id)}: module {module} does not register {name}; "
                f"{registered_by(home, before)}"
            )
    elif name not in gym.registry:
        load_ale()
    spec = gym.registry.get(name)
    if spec is not None and not is_removed(spec) and not has_random_frameskip(spec):
        return spec
    near = suggestions(name)
    hint = (
        f"did you mean {', '.join(near)}?"
        if near
        else "`python -c 'import gymnasium; gymnasium.pprint_registry()'` lists all"
    )
    what = f"unknown environment {safe_repr(env_id)}"
    if spec is not None:
        why = "is no longer in Gymnasium"
        if not is_removed(spec):
            why = "skips a random number of frames, but the preprocessing skips four"
        what = f"environment {safe_repr(env_id)} {why}"
    raise UserError(f"{what}; {hint}")


def is_removed(spec: EnvSpec) -> bool:
    """Whether Gymnasium only raises an error for the id: entry points of its existing environments are strings."""
    return callable(spec.entry_point) and (getattr(spec.entry_point, "__module__", None) or "").startswith("gymnasium.")


def has_random_frameskip(spec: EnvSpec) -> bool:
    """Whether an Atari game skips a random number of frames, such as `Pong-v4`. The preprocessing skips four."""
    return "ale_py" in str(spec.entry_point) and not isinstance(spec.kwargs.get("frameskip", 1), int)


def registered_by(module: ModuleType, before: set[str]) -> str:
    """Return what a module registers, as text; `before` are the ids that were registered before its import."""

    def belongs(spec: EnvSpec) -> bool:
        entry = spec.entry_point
        home = getattr(entry, "__module__", None) if callable(entry) else str(entry).partition(":")[0]
        return (home or "").partition(".")[0] == module.__name__.partition(".")[0]

    found = sorted({*gym.registry} - before | {name for name, spec in gym.registry.items() if belongs(spec)})
    if not found:
        return "it registers no environment: add a line gymnasium.register(id=..., entry_point=...)"
    return f"it registers {', '.join(found[:MAX_SUGGESTIONS])}{', ...' if len(found) > MAX_SUGGESTIONS else ''}"


def base_name(name: str) -> str:
    """Return an id without namespace and version, in lower case."""
    return VERSION.sub("", name.rpartition("/")[2]).lower()


def suggestions(name: str) -> list[str]:
    """Return up to `MAX_SUGGESTIONS` registered ids that resemble an unknown one, the most likely first.

    Each of them can be made here.
    """
    with contextlib.suppress(ImportError):
        load_ale()
    names = [
        one
        for one, spec in gym.registry.items()
        if not is_removed(spec) and not has_random_frameskip(spec) and one != name
    ]
    if games := games_matching(name, names):
        return games
    same = sorted(
        (one for one in names if base_name(one) == base_name(name)),
        key=lambda one: version_rank(one, name),
        reverse=True,
    )
    near = same or difflib.get_close_matches(name, names, n=2 * MAX_SUGGESTIONS, cutoff=0.5)
    # `same` even if it cannot be made: the error then names the missing package
    return list(itertools.islice(filter(can_be_made, near), MAX_SUGGESTIONS)) or same[:1]


def version_rank(one: str, name: str) -> tuple[bool, int]:
    """Return the sorting key of versions of one environment: the version asked for first, then the latest."""
    return VERSION.findall(one) == VERSION.findall(name), int((VERSION.findall(one) or ["0"])[0])


def games_matching(name: str, names: Sequence[str]) -> list[str]:
    """Return the two ids of the Atari game that a name means; an empty list if it means none."""
    games = {one.removesuffix("NoFrameskip-v4").lower(): one for one in names if one.endswith("NoFrameskip-v4")}
    asked = ATARI.fullmatch(name)
    first = games.get(asked[1].lower()) if asked else None
    second = first and f"ALE/{first.removesuffix('NoFrameskip-v4')}-v5"
    return [one for one in (first, second) if one in names]


def can_be_made(name: str) -> bool:
    """Whether an environment can be made here. Its packages may be missing or incompatible."""
    try:
        gym.make(name, disable_env_checker=True).close()
    except Exception:  # packages raise anything
        return False
    return True
