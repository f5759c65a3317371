"""A new setting is one field of a dataclass and its use in the update: everything else follows from the field."""

import json
import os
import shutil
import subprocess
import sys

import jobs
import pytest

FIELD = '    kl_coef: float = setting(0.0, "coefficient of a KL penalty", group="objective", allowed="nonnegative")\n'
OBJECTIVE = '    objective: str = setting("clip", "surrogate objective", group="objective", choices=OBJECTIVE_NAMES)\n'
LOSS = "loss = pol_surr + pol_entpen + settings.vf_coef * vf_loss"


def insert(path, anchor, text):
    """Insert text behind an anchor that a file has once."""
    before = path.read_text()
    assert before.count(anchor) == 1, f"{path.name}: {anchor}"
    path.write_text(before.replace(anchor, anchor + text))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Return the results of new_setting_checks.py in a copy of the packages with the setting `kl_coef`."""
    copy, runs = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("runs")
    for name in ("baselines_ppo", "common", ".ci", "docs"):
        shutil.copytree(jobs.ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    settings = copy / "baselines_ppo" / "config" / "settings.py"
    insert(settings, OBJECTIVE, FIELD)
    insert(copy / "baselines_ppo" / "pposgd_simple.py", LOSS, " + settings.kl_coef * mean(kl)")
    done = subprocess.run(
        [sys.executable, jobs.ROOT / "tests" / "baselines_ppo" / "config" / "new_setting_checks.py", runs, copy],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_it_is_a_flag_with_help_and_default(found):
    assert "--kl-coef FLOAT coefficient of a KL penalty [default: 0.0]" in found["help"]


def test_it_is_checked(found):
    assert found["invalid"] == "run.py: error: invalid kl_coef=-1.0: must be at least 0\n"


def test_it_is_in_config_json(found):
    assert found["printed"] == 0.25 and found["stored"] == {"0.0": 0.0, "50.0": 50.0}


def test_it_reaches_the_update(found):
    assert [found[f"trained {name}"][0] for name in ("0.0", "50.0")] == [0, 0]
    assert found["policies"][0] != found["policies"][1]


def test_it_is_in_the_page_of_settings(found):
    assert found["page"] == [
        "",
        "Coefficient of a KL penalty.",
        "",
        "| flag | unit | default | presets |",
        "| --- | --- | --- | --- |",
        "| `--kl-coef` | number | `0.0` |  |",
        "",
        "**Advice:** -",
        "",
        "",
    ]


def test_a_sweep_varies_it(found):
    assert [line.split("--kl-coef ")[1].split()[0] for line in found["sweep"]] == ["0.0", "0.5"]


def test_runs_with_other_values_are_other_curves(found):
    assert found["curves"] == ["kl_coef=0.0", "kl_coef=50.0"]


def test_a_resume_keeps_its_value(found):
    status, _, error = found["resumed with another value"]
    assert status == 2 and "kl_coef=1.0" in error and "has 50.0" in error


def test_a_run_from_before_it_existed_is_resumed_with_its_default(found):
    assert found["resumed from before"][0] == 0 and found["filled in"] == 0.0
