"""From an environment's name to its spec; and for a name that there is not, those that may be meant."""

import contextlib
import difflib
import itertools
import re

import gymnasium as gym

from common.envs.user_code import import_for
from common.errors import UserError
from common.formatting import safe_repr

MOST = 4  # names that are suggested
# a game of Atari's in any of the ways in which Gym, ALE and people have named it
ATARI = re.compile(r"(?:ALE/)?(\w+?)(?:-ram)?(?:NoFrameskip|Deterministic)?(?:-v\d+)?", re.IGNORECASE)
VERSION = re.compile(r"-v(\d+)$")


def find_spec(env_id):
    """The registered spec of `env_id`, `Name-v0`, or `module:Name-v0`, where the module registers it.

    Raises:
        UserError: naming what may be meant, if there is none; or what is wrong with the module.
    """
    module, _, name = env_id.rpartition(":")
    if ":" in env_id:
        before = set(gym.registry)
        home = import_for(env_id, module)
        if name not in gym.registry:
            raise UserError(
                f"unknown environment {safe_repr(env_id)}: module {module} registers no {name}; {registered_by(home, before)}"
            )
    elif name not in gym.registry:
        register_atari()
    spec = gym.registry.get(name)
    if spec is not None and not is_gone(spec) and not skips_by_chance(spec):
        return spec
    near = suggestions(name)
    hint = (
        f"did you mean {', '.join(near)}?"
        if near
        else "`python -c 'import gymnasium; gymnasium.pprint_registry()'` lists what there is"
    )
    what = f"unknown environment {safe_repr(env_id)}"
    if spec is not None:
        what = f"environment {safe_repr(env_id)} {'is no longer in Gymnasium' if is_gone(spec) else 'skips frames by chance, and the preprocessing skips four'}"
    raise UserError(f"{what}; {hint}")


def register_atari():
    """Register the games of Atari's; they need no module before their name."""
    import common.envs.atari_wrappers  # noqa: F401


def is_gone(spec):
    """Whether nothing but an error is left of an environment: Gymnasium's own real ones are named by text, and imported when they are made."""
    return callable(spec.entry_point) and (getattr(spec.entry_point, "__module__", None) or "").startswith("gymnasium.")


def skips_by_chance(spec):
    """Whether a game of Atari's skips a number of frames that is drawn, as `Pong-v4`: the preprocessing skips four."""
    return "ale_py" in str(spec.entry_point) and not isinstance(spec.kwargs.get("frameskip", 1), int)


def registered_by(module, before):
    """What a module registers, in words; `before` are the names that there were before it was imported."""

    def belongs(spec):
        entry = spec.entry_point
        home = getattr(entry, "__module__", None) if callable(entry) else str(entry).partition(":")[0]
        return (home or "").partition(".")[0] == module.__name__.partition(".")[0]

    found = sorted({*gym.registry} - before | {name for name, spec in gym.registry.items() if belongs(spec)})
    if not found:
        return "it registers none: give it a line gymnasium.register(id=..., entry_point=...)"
    return f"it registers {', '.join(found[:MOST])}{', ...' if len(found) > MOST else ''}"


def base_of(name):
    """A name without namespace and version, in small letters."""
    return VERSION.sub("", name.rpartition("/")[2]).lower()


def suggestions(name):
    """Up to `MOST` registered names that may be meant by one that there is not, the likeliest first; each can be made."""
    with contextlib.suppress(ImportError):
        register_atari()
    names = [
        one for one, spec in gym.registry.items() if not is_gone(spec) and not skips_by_chance(spec) and one != name
    ]
    if games := games_named(name, names):
        return games
    same = sorted(
        (one for one in names if base_of(one) == base_of(name)), key=lambda one: likeness(one, name), reverse=True
    )
    near = same or difflib.get_close_matches(name, names, n=2 * MOST, cutoff=0.5)
    return list(itertools.islice(filter(can_be_made, near), MOST)) or same[:1]  # making it says which packages it needs


def likeness(one, name):
    """What the versions of one name are sorted by: the version that was asked for, then the newest."""
    return VERSION.findall(one) == VERSION.findall(name), int((VERSION.findall(one) or ["0"])[0])


def games_named(name, names):
    """The two ways to play the game of Atari's that a name means; none if it means none."""
    games = {one.removesuffix("NoFrameskip-v4").lower(): one for one in names if one.endswith("NoFrameskip-v4")}
    asked = ATARI.fullmatch(name)
    first = games.get(asked[1].lower()) if asked else None
    second = first and f"ALE/{first.removesuffix('NoFrameskip-v4')}-v5"
    return [one for one in (first, second) if one in names]


def can_be_made(name):
    """Whether an environment can be made here: its packages may be missing, or too new for it."""
    try:
        gym.make(name, disable_env_checker=True).close()
    except Exception:  # whatever a package makes of that
        return False
    return True
