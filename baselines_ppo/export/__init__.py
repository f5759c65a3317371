"""Export of trained policies as SavedModel, LiteRT or ONNX models, which need nothing of this package.

The functions are imported when they are first used (PEP 562), because they need TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from common.runtime.tf_import import import_tensorflow_quietly

if TYPE_CHECKING:
    from baselines_ppo.export.writers import export_litert, export_onnx, export_saved_model

__all__ = ["export_litert", "export_onnx", "export_saved_model"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        import_tensorflow_quietly()
        return getattr(importlib.import_module("baselines_ppo.export.writers"), name)
    raise AttributeError(f"module 'baselines_ppo.export' has no attribute {name!r}")
