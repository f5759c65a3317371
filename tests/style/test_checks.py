"""`.ci/check` and `pre-commit` run the same checks."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_pre_commit_runs_every_check():
    hooks = re.findall(r"entry: \.ci/check (\w+)", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert hooks == list(runpy.run_path(str(ROOT / ".ci" / "check"))["CHECKS"])


def test_an_unknown_check_is_refused():
    process = subprocess.run([sys.executable, ROOT / ".ci" / "check", "formats"], capture_output=True, text=True)
    assert process.returncode == 1 and process.stderr.startswith("no such check: formats; choose from format, ")
