"""Policies from files. What a file says of its policy is held against the arrays that it has before anything is built: it cannot ask for more memory or
time than its own size is worth, nor run code.
"""

import inspect
import json
import logging
from pathlib import Path

from common.diagnostics.crash_dump import FORMAT as POST_MORTEM
from common.errors import UnreadableFileError, UserError
from common.formatting import describe_space, safe_repr
from common.policies import space_serialization
from common.runs.checkpoint_store import FORMAT as CHECKPOINT
from common.runs.checkpoint_store import checkpoint_paths
from common.storage.array_files import MAX_HEADER_BYTES, load_arrays
from common.storage.paths import user_path
from common.validation import error_prefix

FORMAT = "baselines_ppo.policy"
BEST = "best/policy.safetensors"  # in a run's folder
LONGEST_DESCRIPTION = MAX_HEADER_BYTES // 4 - (
    1 << 20
)  # characters of a policy's class, settings and spaces; the rest is for what else a file's metadata has
ENTRIES = (
    16  # that a space may have for every number in its file: a CnnPolicy of few filters on large images comes near
)


def read_policy(path):
    """(arrays, metadata) of a policy's file, or of the policy in a training's checkpoint or post-mortem.

    Raises:
        UserError: if it is damaged, or neither.
    """
    arrays, metadata = load_arrays(path, FORMAT, CHECKPOINT, POST_MORTEM)
    if metadata["format"] == FORMAT:
        return arrays, metadata
    if "policy" not in metadata:
        raise UserError(
            f"{path} does not say what policy it holds: an older version wrote it; resume its run to the end, and load policy/policy.safetensors"
        )
    if not isinstance(metadata["policy"], dict):
        raise UserError(
            f"{path} does not say what policy it holds, but {safe_repr(metadata['policy'])}; use an older copy"
        )
    return {name.removeprefix("pi/"): x for name, x in arrays.items() if name.startswith("pi/")}, metadata["policy"]


def read_best(folder):
    """The metadata of the best policy so far in a run's folder; None if there is none, or it is damaged: the next one takes its place.

    Raises:
        UserError: if it cannot be read, or by another version alone: it may be whole, so none takes its place.
    """
    try:
        return load_arrays(Path(folder) / BEST, FORMAT)[1]
    except UnreadableFileError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise UserError(f"{error}; mend that, or move the file away to go on without it") from error
    except UserError:
        return None


def find_policy(path):
    """The file that holds a run's policy: the final one, or that of the newest checkpoint; or what a policy folder or a path names; or the policy of
    the newest run in a folder of runs.

    Raises:
        UserError: if there is none, or nobody may look.
    """
    return locate(path)[0]


def locate(path):
    """(file, run): the file that `find_policy` finds, and the run that was chosen where `path` is a folder of runs, else None. UserError likewise."""
    path = user_path(path)
    try:
        if file := policy_in(path):
            return file, None
        for run in runs_in(path):
            if file := policy_in(run):
                return file, run
    except OSError as error:
        raise UserError(f"{path}: cannot look for a policy there: {error.strerror}") from error
    raise UserError(
        f"{path}: no policy there; give a run folder, a folder of runs, a checkpoint, or a policy.safetensors file"
    )


def policy_in(path):
    """The file that holds the policy of a run folder, a policy folder or a path to a file; None if there is none."""
    for candidate in (path, path / "policy.safetensors", path / "policy" / "policy.safetensors"):
        if candidate.exists() and not candidate.is_dir():
            return candidate
    return next(iter(checkpoint_paths(path)), None)


def runs_in(path):
    """The run folders right inside a folder, the one that was started or gone on with last first."""
    configs = sorted(
        path.glob("*/config.json"), key=lambda config: (config.stat().st_mtime, config.parent.name), reverse=True
    )
    return [config.parent for config in configs]


def build_policy(cls, path, arrays, metadata, name="pi"):
    """The policy that a file describes, of the class `cls`, with the file's weights; the other arguments as `read_policy` gives them.

    Raises:
        UserError: if it is of another class, says what cannot be, or describes another network than its arrays are of.
    """
    if class_name_of(metadata) != cls.__name__:
        raise UserError(
            f"{path} holds a {class_name_of(metadata)}, not a {cls.__name__}; load it with that class, or with load_policy"
        )
    room = room_for(sum(x.size for x in arrays.values()))
    try:
        settings = metadata["settings"]
        with error_prefix(path):
            ob_space, ac_space = (
                space_serialization.from_json(metadata[key], room) for key in ("ob_space", "ac_space")
            )
            if (
                cls.__init__ is next(one for one in cls.__mro__ if "shapes" in vars(one)).__init__
            ):  # a derived class may have variables of its own
                settings = cls.older_settings | settings
                check_shapes(path, arrays, cls.shapes(ob_space, ac_space, **settings))
            built = taken_by(cls, settings)
            policy = cls(name, ob_space, ac_space, **built)
            check_built_alike(path, policy, {key: x for key, x in settings.items() if key not in built})
    except UserError:
        raise
    except Exception as error:  # whatever a class makes of settings that are not its own
        said = f"{type(error).__name__}: {safe_repr(str(error))}"
        raise UserError(f"{path} does not say how to build its {cls.__name__} ({said})") from error
    policy.restore(arrays, path)
    return policy


def room_for(numbers):
    """How many entries a space may have that a file with so many numbers describes."""
    return max(space_serialization.DEFAULT_MAX_ENTRIES, ENTRIES * numbers)


def taken_by(cls, settings):
    """Those of a file's settings {name: value} that the constructor of `cls` takes: a derived class may choose some of its base's itself."""
    parameters = inspect.signature(cls.__init__).parameters
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return settings
    return {name: x for name, x in settings.items() if name in parameters}


def check_built_alike(path, policy, settings):
    """Raises UserError unless a policy has these settings {name: value}, of its file, which its constructor did not take."""
    own = policy.description()["settings"] if settings else {}
    if wrong := [name for name, x in settings.items() if name not in own or own[name] != x]:
        raise UserError(
            f"{path} does not say how to build its {type(policy).__name__}: {wrong[0]} is {safe_repr(settings[wrong[0]])}, and the class, which does "
            f"not take it, has {safe_repr(own.get(wrong[0]))}; load it with the class as it was when the file was written"
        )


def check_describable(pi):
    """Raises UserError unless a file can say what it takes to build a policy like `pi` again: found before the first step, not at the first checkpoint. A
    line of warning is logged for a class that `load` cannot build."""
    described = json.dumps(pi.description())
    if len(described) > LONGEST_DESCRIPTION:
        raise UserError(
            f"settings and spaces of this {type(pi).__name__} are {len(described):,} bytes of text, and files have room for "
            f"{LONGEST_DESCRIPTION:,}; give spaces whose bounds are the same everywhere"
        )
    room = room_for(sum(v.shape.num_elements() for v in pi.variables))
    for name, own in (("ob_space", pi.ob_space), ("ac_space", pi.ac_space)):
        try:
            back = space_serialization.from_json(json.loads(described)[name], room)
        except UserError as error:
            raise UserError(
                f"a file of this {type(pi).__name__} could not be loaded: {error}; give a smaller {name}"
            ) from error
        if what := space_serialization.difference(own, back):
            raise UserError(
                f"a file would not give back {name}, {describe_space(own)}, as it is: {what}; give one of float32 or int64"
            )
    if missing := needed_beside(type(pi), pi.settings()):
        logging.getLogger("baselines_ppo").warning(
            "%s.load will not be able to build this policy again: its constructor needs %s, which settings() does not "
            "give; return it from settings()",
            type(pi).__name__,
            ", ".join(missing),
        )


def needed_beside(cls, settings):
    """Names of the arguments that the constructor of `cls` cannot do without, beside name, spaces and these settings."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[4:]  # behind self, name, ob_space, ac_space
    return [
        one.name
        for one in parameters
        if one.default is one.empty
        and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        and one.name not in settings
    ]


def check_spaces(path, pi, ob_space, ac_space, whose):
    """Raises UserError unless the policy `pi`, loaded from `path`, is for these spaces; `whose` they are, in words."""
    if what := unlike(pi, ob_space, ac_space):
        raise UserError(
            f"{path} was trained for {spaces_in_words(pi.ob_space, pi.ac_space)}; {whose} has {spaces_in_words(ob_space, ac_space)}: {what}"
        )


def unlike(pi, ob_space, ac_space, bounds=True):
    """How a policy's spaces differ from these, in words; None: they do not.

    Args:
        bounds: whether actions must have the same bounds; those of observations make no difference.
    """
    wrong = {
        "observations": space_serialization.difference(pi.ob_space, ob_space, bounds=False),
        "actions": space_serialization.difference(pi.ac_space, ac_space, bounds),
    }
    return "; ".join(f"{name} differ, {what}" for name, what in wrong.items() if what) or None


def spaces_in_words(ob_space, ac_space):
    """The spaces of a policy or an environment, for errors."""
    return f"observations {describe_space(ob_space)} and actions {describe_space(ac_space)}"


def check_shapes(path, arrays, shapes):
    """Raises UserError unless a policy's arrays are those of variables of these shapes, {name: shape}; None: nobody knows them yet."""
    if shapes is None:
        return
    found = {name.partition("/")[2]: x.shape for name, x in arrays.items() if not name.startswith("ob_rms/")}
    for name in {**shapes, **found}:
        if found.get(name) != (wanted := tuple(shapes[name]) if name in shapes else None):
            raise UserError(
                f"{path} holds another model than it says: {safe_repr(name)} is {found.get(name) or 'not there'}, and by its settings "
                f"{wanted or 'not there'}; use an older copy"
            )


def class_name_of(metadata):
    """The name of the class that a file holds, fit to be shown."""
    name = metadata.get("class")
    return name if isinstance(name, str) and name.isidentifier() and len(name) <= 60 else safe_repr(name)
