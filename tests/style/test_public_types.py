"""A type checker, and so an editor, sees the types of what `from baselines_ppo import ...` gives."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = (
    "learn",
    "Policy",
    "MlpPolicy",
    "CnnPolicy",
    "load_policy",
    "evaluate_policy",
    "Evaluation",
    "LearningCurve",
    "export_saved_model",
    "export_litert",
    "export_onnx",
    "register_objective",
    "PPOSettings",
    "TRPOSettings",
    "VPGSettings",
    "Callback",
    "UserError",
    "StopTraining",
    "Interrupted",
)


def test_public_names_have_types(tmp_path):
    pytest.importorskip("mypy")
    script = tmp_path / "script.py"
    script.write_text(
        f"from baselines_ppo import {', '.join(NAMES)}\n" + "".join(f"reveal_type({name})\n" for name in NAMES)
    )
    command = [sys.executable, "-m", "mypy", "--cache-dir", ROOT / ".mypy_cache", "--follow-imports", "silent", script]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    revealed = re.findall(r'Revealed type is "(.*)"', process.stdout)
    assert len(revealed) == len(NAMES), process.stdout + process.stderr
    assert [name for name, kind in zip(NAMES, revealed) if kind == "Any"] == []
