"""`python -m baselines_ppo.export`: writes a policy as a SavedModel or a LiteRT model, which need nothing of this package.

The functions are imported when they are first used (PEP 562), because they need TensorFlow.
"""

import importlib

__all__ = ["export_litert", "export_saved_model"]


def __getattr__(name):
    if name in __all__:
        return getattr(importlib.import_module("baselines_ppo.export.writers"), name)
    raise AttributeError(f"module 'baselines_ppo.export' has no attribute {name!r}")
