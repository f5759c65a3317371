"""Proximal policy optimisation for TensorFlow 2: `learn`, `MlpPolicy`, `CnnPolicy`, `load_policy`.

Names are imported when they are first used, so that settings and the command line's help need no TensorFlow.
"""

import importlib

import common

__version__ = "0.1.0"

if getattr(common, "OWNER", None) != "baselines_ppo":
    raise ImportError(
        f"the package `common` at {getattr(common, '__file__', None)} is not baselines_ppo's and hides it; rename it, "
        "or put baselines_ppo's folder before it on sys.path"
    )

_HOMES = {
    "learn": "baselines_ppo.pposgd_simple",
    "MlpPolicy": "baselines_ppo.mlp_policy",
    "CnnPolicy": "baselines_ppo.cnn_policy",
    "Policy": "common.policies.base",
    "load_policy": "baselines_ppo.policy_registry",
    "export_saved_model": "baselines_ppo.export",
    "export_litert": "baselines_ppo.export",
    "PPOSettings": "baselines_ppo.config.settings",
    "TRPOSettings": "baselines_ppo.config.settings",
    "VPGSettings": "baselines_ppo.config.settings",
    "Callback": "common.training.callbacks",
    "UserError": "common.errors",
    "StopTraining": "common.errors",
    "Interrupted": "common.errors",
}
_MODULES = ("pposgd_simple", "trpo_mpi", "vpg", "mlp_policy", "cnn_policy")
__all__ = sorted((*_HOMES, *_MODULES))


_NEED_NO_TENSORFLOW = ("baselines_ppo.config.settings", "common.training.callbacks", "common.errors")


def __getattr__(name):
    if name in _MODULES or _HOMES.get(name, _NEED_NO_TENSORFLOW[0]) not in _NEED_NO_TENSORFLOW:
        from common.runtime.tf_import import import_tensorflow_quietly

        import_tensorflow_quietly()
    if name in _MODULES:
        return importlib.import_module(f"baselines_ppo.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'baselines_ppo' has no attribute {name!r}")
