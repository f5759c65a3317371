"""PPO, TRPO, A2C and REINFORCE for TensorFlow 2: `learn`, `MlpPolicy`, `CnnPolicy`, `load_policy`, `evaluate_policy`.

Names are imported at their first use (PEP 562), so that settings and the help of the command line need no TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import common

if TYPE_CHECKING:
    from baselines_ppo import cnn_policy, mlp_policy, pposgd_simple, trpo_mpi, vpg
    from baselines_ppo.cnn_policy import CnnPolicy
    from baselines_ppo.config.settings import PPOSettings, TRPOSettings, VPGSettings
    from baselines_ppo.export import export_litert, export_onnx, export_saved_model
    from baselines_ppo.mlp_policy import MlpPolicy
    from baselines_ppo.networks.mixed_policy import MixedPolicy
    from baselines_ppo.objectives import register_objective
    from baselines_ppo.policy_registry import load_policy
    from baselines_ppo.pposgd_simple import learn
    from common.demonstrations.data import Demonstrations
    from common.demonstrations.files import load_demonstrations, save_demonstrations
    from common.demonstrations.recorder import DemonstrationRecorder
    from common.errors import Interrupted, StopTraining, UserError
    from common.policies.base import Policy
    from common.rollouts.policy_evaluation import Evaluation, evaluate_policy
    from common.training.callbacks import Callback
    from common.training.learning_curve import LearningCurve

__version__ = "0.1.0"

if getattr(common, "OWNER", None) != "baselines_ppo":
    raise ImportError(
        f"the package `common` at {getattr(common, '__file__', None)} is not part of baselines_ppo and hides its "
        "package of that name; rename it, or put the directory of baselines_ppo before it on sys.path"
    )

# public name -> module that defines it
_HOMES = {
    "learn": "baselines_ppo.pposgd_simple",
    "MlpPolicy": "baselines_ppo.mlp_policy",
    "CnnPolicy": "baselines_ppo.cnn_policy",
    "MixedPolicy": "baselines_ppo.networks.mixed_policy",
    "Policy": "common.policies.base",
    "load_policy": "baselines_ppo.policy_registry",
    "evaluate_policy": "common.rollouts.policy_evaluation",
    "Evaluation": "common.rollouts.policy_evaluation",
    "register_objective": "baselines_ppo.objectives",
    "export_saved_model": "baselines_ppo.export",
    "export_litert": "baselines_ppo.export",
    "export_onnx": "baselines_ppo.export",
    "PPOSettings": "baselines_ppo.config.settings",
    "TRPOSettings": "baselines_ppo.config.settings",
    "VPGSettings": "baselines_ppo.config.settings",
    "Demonstrations": "common.demonstrations.data",
    "DemonstrationRecorder": "common.demonstrations.recorder",
    "load_demonstrations": "common.demonstrations.files",
    "save_demonstrations": "common.demonstrations.files",
    "Callback": "common.training.callbacks",
    "LearningCurve": "common.training.learning_curve",
    "UserError": "common.errors",
    "StopTraining": "common.errors",
    "Interrupted": "common.errors",
}
_MODULES = ("pposgd_simple", "trpo_mpi", "vpg", "mlp_policy", "cnn_policy")
_TENSORFLOW_FREE = (
    "baselines_ppo.config.settings",
    "common.demonstrations.data",
    "common.demonstrations.files",
    "common.demonstrations.recorder",
    "common.training.callbacks",
    "common.training.learning_curve",
    "common.errors",
)
__all__ = [
    "Callback",
    "CnnPolicy",
    "DemonstrationRecorder",
    "Demonstrations",
    "Evaluation",
    "Interrupted",
    "LearningCurve",
    "MixedPolicy",
    "MlpPolicy",
    "PPOSettings",
    "Policy",
    "StopTraining",
    "TRPOSettings",
    "UserError",
    "VPGSettings",
    "cnn_policy",
    "evaluate_policy",
    "export_litert",
    "export_onnx",
    "export_saved_model",
    "learn",
    "load_demonstrations",
    "load_policy",
    "mlp_policy",
    "pposgd_simple",
    "register_objective",
    "save_demonstrations",
    "trpo_mpi",
    "vpg",
]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name not in _HOMES and name not in _MODULES:
        raise AttributeError(f"module 'baselines_ppo' has no attribute {name!r}")
    home = _HOMES.get(name, f"baselines_ppo.{name}")
    if home not in _TENSORFLOW_FREE:
        from common.runtime.tf_import import import_tensorflow_quietly

        import_tensorflow_quietly()
    module = importlib.import_module(home)
    return module if name in _MODULES else getattr(module, name)
