"""Policies from files. What a file says of its policy is held against the arrays that it has before anything is built: it cannot ask for more memory or
time than its own size is worth, nor run code.
"""
from pathlib import Path

from common import spaces
from common.checkpoints import load_arrays
from common.checks import about, shown
from common.errors import Unreadable, UserError
from common.paths import user_path
from common.post_mortem import FORMAT as POST_MORTEM
from common.run_folder import FORMAT as CHECKPOINT
from common.run_folder import RunFolder

FORMAT = "baselines_ppo.policy"
BEST = "best/policy.safetensors"  # in a run's folder
ENTRIES = 16  # that a space may have for every number in its file: a CnnPolicy of few filters on large images comes near


def read_policy(path):
    """(arrays, metadata) of a policy's file, or of the policy in a training's checkpoint or post-mortem.

    Raises:
        UserError: if it is damaged, or neither.
    """
    arrays, metadata = load_arrays(path, FORMAT, CHECKPOINT, POST_MORTEM)
    if metadata["format"] == FORMAT:
        return arrays, metadata
    if "policy" not in metadata:
        raise UserError(f"{path} does not say what policy it holds: an older version wrote it; resume its run to the end, and load policy/policy.safetensors")
    if not isinstance(metadata["policy"], dict):
        raise UserError(f"{path} does not say what policy it holds, but {shown(metadata['policy'])}; use an older copy")
    return {name.removeprefix("pi/"): x for name, x in arrays.items() if name.startswith("pi/")}, metadata["policy"]


def read_best(folder):
    """The metadata of the best policy so far in a run's folder; None if there is none, or it is damaged: the next one takes its place.

    Raises:
        UserError: if it cannot be read, or by another version alone: it may be whole, so none takes its place.
    """
    try:
        return load_arrays(Path(folder) / BEST, FORMAT)[1]
    except Unreadable as error:
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
    raise UserError(f"{path}: no policy there; give a run folder, a folder of runs, a checkpoint, or a policy.safetensors file")


def policy_in(path):
    """The file that holds the policy of a run folder, a policy folder or a path to a file; None if there is none."""
    for candidate in (path, path / "policy.safetensors", path / "policy" / "policy.safetensors"):
        if candidate.exists() and not candidate.is_dir():
            return candidate
    return next(iter(RunFolder.checkpoints_in(path)), None)


def runs_in(path):
    """The run folders right inside a folder, the one that was started or gone on with last first."""
    configs = sorted(path.glob("*/config.json"), key=lambda config: (config.stat().st_mtime, config.parent.name), reverse=True)
    return [config.parent for config in configs]


def load_policy(path):
    """A trained policy: an `MlpPolicy` or a `CnnPolicy`, as its file says.

    Args:
        path: a run folder, a folder of runs, a checkpoint, a policy folder or a policy's file, as for `find_policy`.

    Raises:
        UserError: if there is none, or the file is damaged, foreign, or holds a class that is neither.
    """
    from baselines_ppo.cnn_policy import CnnPolicy
    from baselines_ppo.mlp_policy import MlpPolicy
    path = find_policy(path)
    arrays, metadata = read_policy(path)
    classes = {cls.__name__: cls for cls in (MlpPolicy, CnnPolicy)}
    if _class(metadata) not in classes:
        raise UserError(f"{path} holds a {_class(metadata)}; load it with that class's own load()")
    return build(classes[_class(metadata)], path, arrays, metadata)


def build(cls, path, arrays, metadata, name="pi"):
    """The policy that a file describes, of the class `cls`, with the file's weights; the other arguments as `read_policy` gives them.

    Raises:
        UserError: if it is of another class, says what cannot be, or describes another network than its arrays are of.
    """
    if _class(metadata) != cls.__name__:
        raise UserError(f"{path} holds a {_class(metadata)}, not a {cls.__name__}; load it with that class, or with load_policy")
    room = max(spaces.FEW, ENTRIES * sum(x.size for x in arrays.values()))
    try:
        settings = metadata["settings"]
        with about(path):
            ob_space, ac_space = (spaces.from_json(metadata[key], room) for key in ("ob_space", "ac_space"))
            if cls.__init__ is next(one for one in cls.__mro__ if "shapes" in vars(one)).__init__:  # a derived class may have variables of its own
                settings = cls.older_settings | settings
                check_shapes(path, arrays, cls.shapes(ob_space, ac_space, **settings))
            policy = cls(name, ob_space, ac_space, **settings)
    except UserError:
        raise
    except Exception as error:  # whatever a class makes of settings that are not its own
        said = f"{type(error).__name__}: {shown(str(error))}"
        raise UserError(f"{path} does not say how to build its {cls.__name__} ({said})") from error
    policy.restore(arrays, path)
    return policy


def check_spaces(path, pi, ob_space, ac_space, whose):
    """Raises UserError unless the policy `pi`, loaded from `path`, is for these spaces; `whose` they are, in words."""
    if not spaces.same_layout(ob_space, pi.ob_space) or ac_space != pi.ac_space:
        raise UserError(f"{path} was trained for observations {spaces.in_one_line(pi.ob_space)} and actions {spaces.in_one_line(pi.ac_space)}; "
                        f"{whose} has {spaces.in_one_line(ob_space)} and {spaces.in_one_line(ac_space)}")


def check_shapes(path, arrays, shapes):
    """Raises UserError unless a policy's arrays are those of variables of these shapes, {name: shape}; None: nobody knows them yet."""
    if shapes is None:
        return
    found = {name.partition("/")[2]: x.shape for name, x in arrays.items() if not name.startswith("ob_rms/")}
    for name in {**shapes, **found}:
        if found.get(name) != (wanted := tuple(shapes[name]) if name in shapes else None):
            raise UserError(f"{path} holds another model than it says: {shown(name)} is {found.get(name) or 'not there'}, and by its settings "
                            f"{wanted or 'not there'}; use an older copy")


def _class(metadata):
    """The name of the class that a file holds, fit to be shown."""
    name = metadata.get("class")
    return name if isinstance(name, str) and name.isidentifier() and len(name) <= 60 else shown(name)
