"""The policies that the command line and `load_policy` know: their names, classes and files.

This is the only module that knows the concrete classes; `common.policies` works with any subclass of `Policy`.
"""

from __future__ import annotations

import os

from baselines_ppo.cnn_policy import CnnPolicy
from baselines_ppo.config.policy_settings import POLICY_CLASS_NAMES
from baselines_ppo.mlp_policy import MlpPolicy
from baselines_ppo.networks.mixed_policy import MixedPolicy
from common.errors import UserError
from common.policies.base import Policy
from common.policies.files import build_policy, class_name_of, read_policy
from common.policies.locate import find_policy

POLICY_CLASSES: dict[str, type[Policy]] = {cls.__name__: cls for cls in (MlpPolicy, CnnPolicy, MixedPolicy)}


def policy_class(name: str) -> type[Policy]:
    """The class of the policy that `--policy` and config.json call `name`, 'mlp', 'cnn' or 'mixed'."""
    return POLICY_CLASSES[POLICY_CLASS_NAMES[name]]


def load_policy(path: str | bytes | os.PathLike[str]) -> Policy:
    """Load a trained `MlpPolicy` or `CnnPolicy`; its file names the class.

    Args:
        path: a run directory, a directory of runs, a checkpoint, a policy directory or a policy file, as for
            `find_policy`.

    Returns:
        The policy, named 'pi'.

    Raises:
        UserError: if there is no policy, or its file is corrupt, was written by another program or holds another class.
    """
    file = find_policy(path)
    arrays, metadata = read_policy(file)
    class_name = class_name_of(metadata)
    if class_name not in POLICY_CLASSES:
        raise UserError(f"{file} holds a {class_name}; load it with that class's own load()")
    return build_policy(POLICY_CLASSES[class_name], file, arrays, metadata)
