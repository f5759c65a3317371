"""A new run that starts from a policy that was trained before: `--load-path` without `--play`, and `learn(load_path=...)`.

The policy's weights and observation filter are taken over; Adam, return scale, schedules and counters start afresh. The run's folder keeps a copy, so that
a run that is killed before its first checkpoint starts again from the same numbers, whatever has become of the file.
"""

from baselines_ppo.config.policy_settings import POLICY_CLASS_NAMES
from baselines_ppo.config.registry import INIT_ONLY_SETTINGS
from baselines_ppo.experiment.outputs import environment_of
from common.errors import UserError
from common.hints import USE_CNN, USE_MLP
from common.policies.files import build_policy, read_policy
from common.policies.locate import find_policy
from common.policies.space_comparison import check_spaces
from common.storage.write_errors import raises_write_error

COPY = "start/policy.safetensors"  # in the run's folder
HINTS = {"mlp": USE_MLP, "cnn": USE_CNN}
CLASS_HINTS = {POLICY_CLASS_NAMES[name]: hint for name, hint in HINTS.items()}


def as_arguments(settings):
    """Settings of a policy, {name: value}, as `learn`'s caller gives them to it."""
    return [f"{', '.join(f'{name}={value!r}' for name, value in settings.items())} to the policy"]


def load_initial_policy(path, pi, comm, in_words=as_arguments):
    """(file, state): the file that holds the policy at `path`, and what `Policy.state` said of it; read by rank 0 for all.

    Args:
        path: as for `find_policy`.
        pi: the run's policy, or an example of it, which the loaded one must fit.
        comm: the ranks.
        in_words: function ({name: value} of a policy's settings) -> words that give them.

    Raises:
        UserError: on all ranks alike, if there is none, or it does not fit.
    """

    def read():
        file = find_policy(path).resolve()
        return str(file), load_compatible_policy(file, pi, in_words).state()

    return comm.run_on_root(read)


def load_compatible_policy(file, pi, in_words):
    """The policy in a file. UserError if `pi`, a run's own, is of another class, other spaces or other settings."""
    arrays, metadata = read_policy(file)
    written, own = metadata.get("class"), type(pi).__name__
    if written != own and written in CLASS_HINTS:
        raise UserError(
            f"{file} holds a policy of class {written}, this run has one of class {own}; {CLASS_HINTS[written]}"
        )
    loaded = build_policy(type(pi), file, arrays, metadata)
    check_spaces(file, loaded, pi.ob_space, pi.ac_space, "this run")
    theirs, ours = (
        {name: value for name, value in one.settings().items() if name not in INIT_ONLY_SETTINGS}
        for one in (loaded, pi)
    )
    if wrong := {name: value for name, value in theirs.items() if value != ours.get(name)}:
        raise UserError(
            f"{file} has a policy of {', '.join(f'{name}={value}' for name, value in wrong.items())}, this run one of "
            f"{', '.join(f'{name}={ours.get(name)}' for name in wrong)}; give {' '.join(in_words(wrong))}"
        )
    return loaded


def save_initial_copy(folder, pi, state, source, settings):
    """Write the copy of what a run starts from; `pi`, an example of the run's policy, becomes that."""
    path = folder.path / COPY
    with raises_write_error(path):
        folder.verify_ownership()
        path.parent.mkdir(exist_ok=True)
    pi.restore(state, source)
    pi.save(path, source=source, **environment_of(settings))


def load_weights_into(path, pi, comm):
    """Give a policy, on all ranks, the weights and the observation filter of the one at `path`. UserError as `load_initial_policy`."""
    file, state = load_initial_policy(path, pi, comm)
    pi.restore(state, file)
